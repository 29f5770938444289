"""Teachers, and the losses by which a student learns from them."""

from ghostlab.distill.losses import soft
from ghostlab.distill.teachers import open_teacher, teacher_name

__all__ = ["open_teacher", "soft", "teacher_name"]
