"""Teachers, the losses by which a student learns from them, and caches of their answers."""

from ghostlab.distill.cache import AnswerCache
from ghostlab.distill.choice import Choice, TeacherSource
from ghostlab.distill.decoupled import dkd
from ghostlab.distill.features import feature
from ghostlab.distill.logits import hard, soft
from ghostlab.distill.relations import dist
from ghostlab.distill.views import Preprocessing, Teacher, answers

__all__ = [
    "AnswerCache",
    "Choice",
    "Preprocessing",
    "Teacher",
    "TeacherSource",
    "answers",
    "dist",
    "dkd",
    "feature",
    "hard",
    "soft",
]
