"""Folding batch norms and branches into convolutions and linear layers, in place and in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ghostlab.reparam.branches import MultiBranchConv, resized
from ghostlab.reparam.norms import BatchNorm, NormPlace, affine
from ghostlab.reparam.pairs import Survey

__all__ = ["computing", "fold_norms", "fold_pair", "fold_sites", "plain", "plain_site", "renewed", "sites"]


def sites(model: nn.Module) -> dict[str, MultiBranchConv]:
    """The multi-branch convolutions of ``model`` by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MultiBranchConv)}


@contextmanager
def computing(model: nn.Module, online: str) -> Iterator[None]:
    """The multi-branch convolutions of ``model`` compute as ``online`` says; afterwards as before."""
    before = {site: site.online for site in sites(model).values()}
    try:
        for site in before:
            site.online = online
        yield
    finally:
        for site, mode in before.items():
            site.online = mode


def fold_sites(model: nn.Module) -> None:
    """Replace every multi-branch convolution of ``model`` by one convolution with bias; in place.

    Kernels and biases are computed in float64 and rounded once, to the dtype of the kernel they replace; they keep
    its device and require gradients.
    """
    for name, site in sites(model).items():
        model.set_submodule(name, _filled(site.single(bias=True), *site.fold()))


def fold_norms(model: nn.Module, found: Survey) -> None:
    """Replace every layer of ``found`` and its norm by one layer with bias; in place, and as ``fold_sites`` does.

    A layer may be a multi-branch convolution with a norm after its sum: its branches are folded with it.
    """
    for pair in (*found.pairs, *found.after_linear):
        layer, norm = pair.of(model)
        model.set_submodule(pair.conv, _filled(renewed(layer), *fold_pair(layer, norm)))
        model.set_submodule(pair.norm, NormPlace(norm))
    for pair in found.before:
        layer, norm = pair.of(model)
        model.set_submodule(pair.conv, _filled(renewed(layer), *_fold_before(layer, norm)))
        model.set_submodule(pair.norm, NormPlace(norm))


def fold_pair(layer: nn.Conv2d | nn.Linear | MultiBranchConv, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias that compute ``norm(layer(x))`` in evaluation, in float64 on the CPU."""
    factor, shift = affine(norm)
    weight, bias = _values(layer)
    return factor.view(-1, *[1] * (weight.dim() - 1)) * weight, shift + factor * bias


def _fold_before(layer: nn.Conv2d | nn.Linear, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias that compute ``layer(norm(x))`` in evaluation, in float64 on the CPU."""
    weight, bias = _values(layer)
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    # (C_in,) as (groups, 1, C_in / groups), beside the weights as (groups, C_out / groups, C_in / groups, taps)
    factor, shift = (value.view(groups, 1, -1, 1) for value in affine(norm))
    grouped = weight.view(groups, len(weight) // groups, weight.shape[1], -1)
    return (grouped * factor).view_as(weight), bias + (grouped * shift).sum((2, 3)).flatten()


def _values(layer: nn.Conv2d | nn.Linear | MultiBranchConv) -> tuple[Tensor, Tensor]:
    if isinstance(layer, MultiBranchConv):
        return layer.fold()
    weight = layer.weight.detach().cpu().double()
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu().double()


def renewed(layer: nn.Conv2d | nn.Linear | MultiBranchConv, bias: bool = True) -> nn.Conv2d | nn.Linear:
    """A layer like ``layer``, without branches, with fresh weights, with or without a bias."""
    if isinstance(layer, nn.Conv2d | MultiBranchConv):
        conv = (
            resized(layer, layer.out_channels, layer.groups, bias)
            if isinstance(layer, nn.Conv2d)
            else layer.single(bias)
        )
        conv.reset_parameters()
        return conv
    like = layer.weight
    linear = nn.Linear(layer.in_features, layer.out_features, bias, device=like.device, dtype=like.dtype)
    return linear.train(layer.training)


@torch.no_grad()
def _filled(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.weight.copy_(weight)
    assert layer.bias is not None
    layer.bias.copy_(bias)
    return layer


def plain(model: nn.Module) -> nn.Module:
    """``model`` with every site a Conv-BN pair, in place, its values lost: enough to see what belongs together."""
    for name, site in sites(model).items():
        model.set_submodule(name, site.single())
    for name, place in list(model.named_modules()):
        if isinstance(place, NormPlace):
            model.set_submodule(name, place.restore(next(model.parameters())))
    return model


def plain_site(site: MultiBranchConv, place: NormPlace | BatchNorm) -> tuple[nn.Conv2d, BatchNorm]:
    """A convolution and a batch norm that compute in evaluation what ``site`` and what follows it do."""
    weight, bias = site.fold()
    conv = site.single()
    norm = place.restore(conv.weight) if isinstance(place, NormPlace) else copy.deepcopy(place)
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        conv.weight.copy_(weight)
        if isinstance(place, NormPlace):
            norm.running_var.fill_(1 - norm.eps)
        norm.running_mean.sub_(bias.to(norm.running_mean))
    return conv, norm
