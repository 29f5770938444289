"""All branches of a multi-branch convolution as kernels of one size, with what their norms hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ghostlab.reparam.norms import BatchNorm

if TYPE_CHECKING:
    from ghostlab.reparam.branches import MultiBranchConv

__all__ = ["Branches", "NormPart", "branches_of"]


class NormPart(NamedTuple):
    """One norm and the branches that it normalises: the ``rows`` of ``Branches`` from ``first``."""

    norm: BatchNorm
    first: int
    rows: int


class Branches(NamedTuple):
    """N branches of a convolution with G groups of O outputs each; a kernel has K = C_in / G * k * k values."""

    kernels: Tensor
    """(G, N, O, K)"""
    gamma: Tensor
    """(G, N, O)"""
    beta: Tensor
    """(G, N, O)"""
    eps: Tensor | float
    """One number, or one of each branch (N, 1)."""
    parts: tuple[NormPart, ...]
    constant: Tensor | None
    """The sum (G, O, K) of the kernels that no norm follows."""

    def running(self, name: str) -> Tensor:
        """The running statistic ``name`` of all branches (G, N, O)."""
        groups = len(self.kernels)
        return _joined([_by_branch(getattr(part.norm, name), part, groups) for part in self.parts])


def branches_of(site: MultiBranchConv) -> Branches:
    """The N branches of ``site``, its 1x1 and identity branches embedded in kernels of full size; differentiable."""
    groups, size = site.groups, site.conv.weight.shape[1:]
    kernels, parts = [_grouped(site.conv.weight, site.branches, groups)], [NormPart(site.bn, 0, site.branches)]
    bare: list[Tensor] = []
    for kernel, norm in _single_taps(site):
        embedded = _embedded(kernel, size)
        if isinstance(norm, BatchNorm):
            kernels.append(embedded)
            parts.append(NormPart(norm, sum(part.rows for part in parts), 1))
        else:
            bare.append(embedded)
    constant = sum(bare[1:], start=bare[0]).squeeze(1) if bare else None
    gamma = _joined([_affine(part.norm.weight, part, 1.0, groups) for part in parts])
    beta = _joined([_affine(part.norm.bias, part, 0.0, groups) for part in parts])
    return Branches(_joined(kernels), gamma, beta, _eps(parts, gamma), tuple(parts), constant)


def _single_taps(site: MultiBranchConv) -> Iterator[tuple[Tensor, nn.Module | None]]:
    """The 1x1 and identity branches as 1x1 kernels (G, 1, O, C), each with its norm if it has one."""
    if site.scale is not None:
        yield _grouped(site.scale.conv.weight, 1, site.groups), site.scale.bn
    if site.identity is not None:
        yield _unit(site), site.identity


def _grouped(weight: Tensor, branches: int, groups: int) -> Tensor:
    """(N * G * O, C, k, k) as (G, N, O, C * k * k)."""
    return weight.reshape(branches, groups, -1, weight[0].numel()).transpose(0, 1)


def _embedded(taps: Tensor, size: torch.Size) -> Tensor:
    """1x1 kernels (G, 1, O, C) as the centre taps of kernels of ``size`` (C, k, k): (G, 1, O, C * k * k)."""
    area = size[1] * size[2]
    if area == 1:
        return taps
    embedded = taps.new_zeros(*taps.shape, area)
    embedded[..., area // 2] = taps  # odd kernels only: the middle of a row-major kernel is its centre
    return embedded.flatten(-2)


def _unit(site: MultiBranchConv) -> Tensor:
    """The identity as a 1x1 kernel of every group: (G, 1, O, C), where O is C."""
    like = site.conv.weight
    eye = torch.eye(like.shape[1], device=like.device, dtype=like.dtype)
    return eye.expand(site.groups, 1, *eye.shape)


def _affine(value: Tensor | None, part: NormPart, missing: float, groups: int) -> Tensor:
    if value is None:
        assert part.norm.running_mean is not None
        value = torch.full_like(part.norm.running_mean, missing)
    return _by_branch(value, part, groups)


def _by_branch(value: Tensor, part: NormPart, groups: int) -> Tensor:
    """(rows * G * O,) as (G, rows, O)."""
    return value.view(part.rows, groups, -1).transpose(0, 1)


def _eps(parts: list[NormPart], like: Tensor) -> Tensor | float:
    if len({part.norm.eps for part in parts}) == 1:
        return parts[0].norm.eps
    values = [part.norm.eps for part in parts for _ in range(part.rows)]
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(-1, 1)


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, 1)
