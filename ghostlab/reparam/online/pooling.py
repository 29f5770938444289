"""Moments of a batch that is spread over processes, as ``nn.SyncBatchNorm`` normalises it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Moments", "pool", "pool_backward"]


@dataclass(frozen=True)
class Moments:
    """Mean (G, K), biased covariance (G, K, K), and over how many outputs."""

    mean: Tensor
    cov: Tensor
    count: Tensor | int  # a tensor where processes hold batches of different sizes


def pool(mean: Tensor, cov: Tensor, count: int, group: dist.ProcessGroup | None) -> Moments:
    """The moments over all processes of ``group``, from those of each and its number of outputs."""
    if group is None:
        return Moments(mean, cov, count)
    sums = torch.cat([mean.flatten() * count, mean.new_tensor([count])])
    dist.all_reduce(sums, group=group)
    total = sums[-1]
    common = (sums[:-1] / total).view_as(mean)
    apart = mean - common  # the covariance around the common mean is the own one plus this outer product
    spread = count * (cov + apart.unsqueeze(-1) * apart.unsqueeze(-2))
    dist.all_reduce(spread, group=group)
    return Moments(common, spread / total, total)


def pool_backward(d_mean: Tensor, d_cov: Tensor, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """The gradients that reach the common moments from all processes."""
    if group is not None:
        for gradient in (d_mean, d_cov):
            dist.all_reduce(gradient, group=group)
    return d_mean, d_cov
