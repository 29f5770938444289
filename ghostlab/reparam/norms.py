"""Batch norms as affine maps, and the place that one leaves when it moves into a convolution."""

from __future__ import annotations

import copy
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

__all__ = ["BatchNorm", "NormPlace", "affine", "batch_norm_like", "is_batch_norm", "why_not_affine"]

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def is_batch_norm(module: nn.Module) -> TypeGuard[BatchNorm]:
    """Whether ``module`` is a batch norm over images: plain, synchronised, frozen, or one with its activation."""
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    return isinstance(module, kinds) or type(module).__name__.startswith("FrozenBatchNorm")


def affine(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """``(factor, shift)``, each (C,) in float64 on the CPU: in evaluation the norm computes ``factor * x + shift``."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, var = norm.running_mean.cpu().double(), norm.running_var.cpu().double()
    weight, bias = (None if value is None else value.detach().cpu().double() for value in (norm.weight, norm.bias))
    factor = torch.rsqrt(var + norm.eps) if weight is None else weight * torch.rsqrt(var + norm.eps)
    return factor, -mean * factor if bias is None else bias - mean * factor


def batch_norm_like(norm: BatchNorm, channels: int) -> BatchNorm:
    """A fresh batch norm over ``channels`` with the settings, device and dtype of ``norm``, without its activation."""
    assert norm.running_mean is not None
    settings: dict[str, Any] = {
        "eps": norm.eps,
        "momentum": norm.momentum,
        "affine": norm.affine,
        "device": norm.running_mean.device,
        "dtype": norm.running_mean.dtype,
    }
    if isinstance(norm, nn.SyncBatchNorm):
        return nn.SyncBatchNorm(channels, process_group=norm.process_group, **settings)
    return nn.BatchNorm2d(channels, **settings)


class NormPlace(nn.Identity):
    """What stays where a norm was: nothing, or what the norm did after normalising (its ``drop`` and ``act``).

    Keeps the norm's settings, not its values, so that ``restore`` can bring it back for weights that have it.
    """

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        for name, child in norm.named_children():
            if name in ("drop", "act") and not isinstance(child, nn.Identity):
                self.add_module(name, child)
        self.train(norm.training)
        self._former = (copy.deepcopy(norm).to("meta"),)  # in a tuple: not a part of the model or its state dict

    def forward(self, x: Tensor) -> Tensor:
        for tail in self.children():
            x = tail(x)
        return x

    def restore(self, like: Tensor) -> BatchNorm:
        """The norm again, with fresh statistics and weights, on the device and with the dtype of ``like``."""
        norm = copy.deepcopy(self._former[0]).to_empty(device=like.device).to(like.dtype)
        if isinstance(norm, BatchNorm):  # a frozen one has no values of its own to begin with
            norm.reset_parameters()
        for name, child in self.named_children():
            setattr(norm, name, child)
        return norm.train(self.training)


def why_not_affine(norm: BatchNorm) -> str:
    """Why ``norm`` is not ``affine`` followed by its ``NormPlace``; empty when it is.

    A subclass may compute anything, so it is tried on random values.
    """
    if norm.running_mean is None:
        return "it keeps no running statistics"
    if type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm) or _is_affine(norm):
        return ""
    return f"{type(norm).__name__} does more than a batch norm, dropout and an activation"


@torch.no_grad()
def _is_affine(norm: BatchNorm) -> bool:
    norm = copy.deepcopy(norm).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        if tensor is not None:
            tensor.uniform_(0.5, 1.5, generator=generator)
    assert norm.running_mean is not None
    x = torch.randn(2, len(norm.running_mean), 3, 3, dtype=torch.float64, generator=generator)
    factor, shift = (value.view(1, -1, 1, 1) for value in affine(norm))
    return torch.allclose(norm(x.clone()), NormPlace(norm)(factor * x + shift), rtol=1e-9, atol=1e-9)
