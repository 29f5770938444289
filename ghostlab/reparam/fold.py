"""Folding batch norms and branches into convolutions, in place and in float64."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ghostlab.reparam.branches import MultiBranchConv, resized
from ghostlab.reparam.norms import BatchNorm, NormPlace, affine
from ghostlab.reparam.pairs import Pair

__all__ = ["fold", "fold_pair", "sites"]


def sites(model: nn.Module) -> dict[str, MultiBranchConv]:
    """The multi-branch convolutions of ``model`` by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MultiBranchConv)}


def fold(model: nn.Module, pairs: Iterable[Pair]) -> nn.Module:
    """Replace every multi-branch convolution and every pair of ``model`` by one convolution with bias; in place.

    Kernels and biases are computed in float64 and rounded once, to the dtype of the kernel they replace; they keep
    its device and require gradients. Returns ``model``.
    """
    for name, site in sites(model).items():
        model.set_submodule(name, _filled(site.single(bias=True), *site.fold()))
    for pair in pairs:
        conv, norm = pair.of(model)
        empty = resized(conv, conv.out_channels, conv.groups, bias=True)
        model.set_submodule(pair.conv, _filled(empty, *fold_pair(conv, norm)))
        model.set_submodule(pair.norm, NormPlace(norm))
    return model


def fold_pair(conv: nn.Conv2d, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Kernel and bias that compute ``norm(conv(x))`` in evaluation, in float64 on the CPU."""
    factor, shift = affine(norm)
    weight = factor.view(-1, 1, 1, 1) * conv.weight.detach().cpu().double()
    return weight, shift if conv.bias is None else shift + factor * conv.bias.detach().cpu().double()


@torch.no_grad()
def _filled(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv.weight.copy_(weight)
    assert conv.bias is not None
    conv.bias.copy_(bias)
    return conv
