"""Distillation of relations: the student's answers shall go along with the teacher's, not equal them."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

__all__ = ["DistParts", "dist", "dist_parts"]


class DistParts(NamedTuple):
    """Both terms of ``dist``, unweighted float32 scalars."""

    inter: Tensor
    intra: Tensor


def dist(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None = None,
    *,
    tau: float = 1.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
) -> Tensor:
    """``inter_weight * inter + intra_weight * intra`` (the paper's beta and gamma); a float32 scalar.

    See ``dist_parts`` for shapes, formula and source; ``target`` is not looked at.

        >>> import torch
        >>> from ghostlab.distill import dist
        >>> logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
        >>> dist(logits, 3 * logits).item() < dist(logits, -logits).item()
        True
    """
    parts = dist_parts(student, teacher, tau=tau)
    return inter_weight * parts.inter + intra_weight * parts.intra


def dist_parts(student: Tensor, teacher: Tensor, *, tau: float = 1.0) -> DistParts:
    """``tau^2 * (1 - r)`` with Pearson's correlation r of the probabilities softened by ``tau``.

    ``student`` and ``teacher`` are logits (B, classes) of any floating-point type. ``inter`` correlates the classes of
    an image and is the mean over images; ``intra`` correlates the images of a class and is the mean over classes.
    Huang et al., "Knowledge Distillation from A Stronger Teacher", https://arxiv.org/abs/2205.10536, equations 8 to 10;
    the factor ``tau^2`` is that of the authors' code.
    """
    s = (student.float() / tau).softmax(1)
    t = (teacher.float() / tau).softmax(1)
    return DistParts(*(tau**2 * (1 - _correlation(s, t, dim)).mean() for dim in (1, 0)))


def _correlation(one: Tensor, other: Tensor, dim: int) -> Tensor:
    return F.cosine_similarity(one - one.mean(dim, keepdim=True), other - other.mean(dim, keepdim=True), dim=dim)
