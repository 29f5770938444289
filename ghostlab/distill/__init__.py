"""Teachers, the losses by which a student learns from them, and caches of their answers."""

from ghostlab.distill.cache import AnswerCache
from ghostlab.distill.decoupled import dkd
from ghostlab.distill.features import feature
from ghostlab.distill.logits import hard, soft
from ghostlab.distill.relations import dist
from ghostlab.distill.teachers import Preprocessing, Teacher, TeacherChoice, TeacherSource, answers

__all__ = [
    "AnswerCache",
    "Preprocessing",
    "Teacher",
    "TeacherChoice",
    "TeacherSource",
    "answers",
    "dist",
    "dkd",
    "feature",
    "hard",
    "soft",
]
