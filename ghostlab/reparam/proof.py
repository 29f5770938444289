"""Evidence that a folded model computes what the model computed: on its own values and on random ones."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ghostlab.reparam.norms import BatchNorm

__all__ = ["difference", "measure", "randomize"]


def measure(model: nn.Module, fold: Callable[[nn.Module], object], shape: tuple[int, ...]) -> dict[torch.dtype, float]:
    """The largest relative difference between ``model`` and a copy of it changed by ``fold``, in float64 and float32.

    Both run on the CPU in evaluation mode on random images of ``shape`` (B, C, H, W), once with the model's own values
    and once with those of ``randomize``. Outputs that are not finite count as an infinite difference.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(shape, dtype=torch.float64, generator=generator)
    own = copy.deepcopy(model).cpu().double().eval()
    worst = {torch.float64: 0.0, torch.float32: 0.0}
    for values in (own, randomize(copy.deepcopy(own), images, generator)):
        for dtype in worst:
            before = copy.deepcopy(values).to(dtype)
            after = copy.deepcopy(before)
            fold(after)
            worst[dtype] = max(worst[dtype], difference(before, after, images.to(dtype)))
    return worst


@torch.no_grad()
def difference(first: nn.Module, second: nn.Module, images: Tensor) -> float:
    """The largest difference of any output, relative to the largest absolute value of that output of ``first``."""
    outputs = zip(tree_leaves(first(images)), tree_leaves(second(images)), strict=True)
    ratios = [(a - b).abs().max() / a.abs().max().clamp(min=1e-30) for a, b in outputs if isinstance(a, Tensor)]
    return torch.stack(ratios).nan_to_num(nan=torch.inf).max().item()


@torch.no_grad()
def randomize(model: nn.Module, images: Tensor, generator: torch.Generator) -> nn.Module:
    """Give every batch norm random weights, and statistics scattered around those of ``images``; in place.

    Statistics drawn from nowhere would let the signal die or explode within a few layers, and a wrong kernel in an
    early layer would not show in the output.
    """
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    norms = [module for module in model.modules() if isinstance(module, kinds) and module.running_mean is not None]
    for norm in norms:
        norm.training, norm.momentum = True, 1.0
    model(images)
    for norm in norms:
        norm.training = False
        _scatter(norm, generator)
    return model


def _scatter(norm: BatchNorm, generator: torch.Generator) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None
    uniform = torch.empty_like(var).uniform_(0.5, 1.5, generator=generator)
    normal = torch.empty_like(mean).normal_(generator=generator)
    var.add_(0.1 * var.mean()).mul_(uniform)  # the first term keeps a channel without variance from blowing up
    mean.add_(0.1 * var.sqrt() * normal)
    if norm.affine:
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(std=0.1, generator=generator)
