"""Learning from a teacher's answers themselves: softened probabilities, or its one choice."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["hard", "soft"]


def soft(student: Tensor, teacher: Tensor, target: Tensor | None = None, *, tau: float = 1.0) -> Tensor:
    """``tau^2 * KL(teacher || student)`` of the answers softened by ``tau``, mean over the batch; a float32 scalar.

    ``student`` and ``teacher`` are logits (B, classes) of any floating-point type; ``target`` is not looked at. The
    factor ``tau^2`` keeps the size of the gradients when ``tau`` changes: Hinton et al.,
    https://arxiv.org/abs/1503.02531, section 2.

        >>> import torch
        >>> from ghostlab.distill import soft
        >>> soft(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]), tau=2.0)
        tensor(0.)
    """
    log_student = F.log_softmax(student.float() / tau, dim=1)
    log_teacher = F.log_softmax(teacher.float() / tau, dim=1)
    return tau**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def hard(student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
    """Cross-entropy of the student with the class that the teacher prefers, mean over the batch; a float32 scalar.

    ``student`` and ``teacher`` are logits (B, classes) of any floating-point type; ``target`` is not looked at: the
    teacher's choice for a mixed image is its target. Touvron et al., DeiT, https://arxiv.org/abs/2012.12877, section 4.

        >>> import torch
        >>> from ghostlab.distill import hard
        >>> hard(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 5.0]]))
        tensor(0.6931)
    """
    return F.cross_entropy(student.float(), teacher.argmax(1))
