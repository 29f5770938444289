"""Decoupled distillation: how sure the teacher is of the target, and how it ranks all other classes, weighted apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DkdParts", "dkd", "dkd_parts"]


class DkdParts(NamedTuple):
    """Both terms of ``dkd``, unweighted float32 scalars."""

    target: Tensor
    others: Tensor


def dkd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    tau: float = 1.0,
    target_weight: float = 1.0,
    others_weight: float = 0.5,
) -> Tensor:
    """``target_weight * TCKD + others_weight * NCKD`` (the paper's alpha and beta); a float32 scalar.

    The default weights are those of the authors for ImageNet with tau 1; for CIFAR-100 they take 1, 8 and tau 4.
    See ``dkd_parts`` for shapes, formula and source.

        >>> import torch
        >>> from ghostlab.distill import dkd
        >>> logits = torch.tensor([[2.0, 0.0, 1.0]])
        >>> dkd(logits, logits, torch.tensor([0]))
        tensor(0.)
    """
    parts = dkd_parts(student, teacher, target, tau=tau)
    return target_weight * parts.target + others_weight * parts.others


def dkd_parts(student: Tensor, teacher: Tensor, target: Tensor, *, tau: float = 1.0) -> DkdParts:
    """``tau^2 * KL`` of (target, not target) and ``tau^2 * KL`` among the other classes, each a mean over the batch.

    ``student`` and ``teacher`` are logits (B, classes) of any floating-point type, softened by ``tau`` to s and t. For
    a target class c, TCKD is ``t_c ln(t_c / s_c) + (1 - t_c) ln((1 - t_c) / (1 - s_c))`` and NCKD is the divergence of
    ``t_j / (1 - t_c)`` from ``s_j / (1 - s_c)`` over all j but c. ``target`` are class indices (B,) or, mixed or
    smoothed, probabilities (B, classes): then both terms are their expectations over the target class.
    Zhao et al., "Decoupled Knowledge Distillation", https://arxiv.org/abs/2203.08919, equations 4 and 5.
    """
    log_s = F.log_softmax(student.float() / tau, dim=1)
    log_t = F.log_softmax(teacher.float() / tau, dim=1)
    rest_s, rest_t = _log_rest(log_s), _log_rest(log_t)
    binary = log_t.exp() * (log_t - log_s) + rest_t.exp() * (rest_t - rest_s)
    others = _mean_over_rest(log_t, log_t - log_s) - rest_t + rest_s
    if target.ndim == 1:
        target = F.one_hot(target, student.shape[1])
    scale = tau**2 / len(student)
    return DkdParts(*(scale * (target * term).sum() for term in (binary, others)))


def _log_rest(log_p: Tensor) -> Tensor:
    """``ln(1 - p)`` (B, classes), also where p rounds to 1, which can only be at a row's largest entry."""
    top = _top(log_p)
    direct = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(top, direct, torch.log1p(-log_p.exp().masked_fill(top, 0.0)))


def _mean_over_rest(log_t: Tensor, values: Tensor) -> Tensor:
    """For every class c the mean of ``values`` over all other classes, weighted by ``t_j / (1 - t_c)``; (B, classes).

    The sum over all less the term of c would be all rounding error where t_c is near 1, so that one is added up apart.
    """
    top = _top(log_t)
    weighted = log_t.exp() * values
    left = 1 - log_t.exp().masked_fill(top, 0.0)
    all_but_c = (weighted.sum(1, keepdim=True) - weighted) / left
    direct = (log_t.masked_fill(top, -torch.inf).softmax(1) * values).sum(1, keepdim=True)
    return torch.where(top, direct, all_but_c)


def _top(log_p: Tensor) -> Tensor:
    return torch.zeros_like(log_p, dtype=torch.bool).scatter_(1, log_p.argmax(1, keepdim=True), True)
