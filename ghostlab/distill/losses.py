"""Distillation losses: pure functions of what student and teacher answer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["soft"]


def soft(student: Tensor, teacher: Tensor, tau: float = 1.0) -> Tensor:
    """``tau^2 * KL(teacher || student)`` of the answers softened by ``tau``, mean over the batch; a float32 scalar.

    ``student`` and ``teacher`` are logits (B, classes) of any floating-point type. The factor ``tau^2`` keeps the size
    of the gradients when ``tau`` changes: Hinton et al., https://arxiv.org/abs/1503.02531, section 2.
    """
    log_student = F.log_softmax(student.float() / tau, dim=1)
    log_teacher = F.log_softmax(teacher.float() / tau, dim=1)
    return tau**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
