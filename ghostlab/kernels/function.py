"""A depthwise convolution as one autograd node, each direction by its own kernels or by PyTorch's."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ghostlab.kernels.geometry import Geometry
from ghostlab.kernels.native import convolve, input_gradient, kernel_gradient

__all__ = ["Way", "depthwise"]


class Way(Enum):
    """Which directions own kernels compute; PyTorch computes the others."""

    PYTORCH = "pytorch"
    BACKWARD = "backward"
    BOTH = "both"


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, way: Way) -> Tensor:
    """x (B, C, H, W) convolved with weight (C, 1, k_h, k_w), plus bias (C,).

    In the memory format of ``x``. May be differentiated any number of times; the first derivative is computed by
    ``way``, those beyond it by PyTorch.
    """
    if way is Way.PYTORCH:
        return _by_pytorch(x, weight, bias, geometry)
    return _Depthwise.apply(x, weight, bias, geometry, way)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, way: Way) -> Tensor:
        ctx.geometry, ctx.with_bias = geometry, bias is not None
        ctx.save_for_backward(x, weight)
        if way is Way.BACKWARD:
            return _by_pytorch(x, weight, bias, geometry)
        return _like(x, convolve(x, weight, bias, geometry))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        geometry, (to_x, to_weight, to_bias, *_) = ctx.geometry, ctx.needs_input_grad
        if torch.is_grad_enabled():  # to be differentiated again
            return (*_differentiable(x, weight, grad, geometry, ctx.needs_input_grad), None, None)
        dx = _like(x, input_gradient(grad, weight, x.shape, geometry)) if to_x else None
        if not (to_weight or to_bias):
            return dx, None, None, None, None
        d_weight, d_bias = kernel_gradient(x, grad, weight, geometry, to_bias)
        return dx, d_weight if to_weight else None, d_bias if to_bias else None, None, None


def _by_pytorch(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return F.conv2d(x, weight, bias, geometry.stride, geometry.padding, 1, geometry.groups)


def _like(x: Tensor, made: Tensor) -> Tensor:
    """``made``, which is channels-last, in the memory format of ``x``."""
    return made.contiguous() if x.is_contiguous() else made


def _differentiable(
    x: Tensor, weight: Tensor, grad: Tensor, geometry: Geometry, needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    dx = conv2d_input(x.shape, weight, grad, *geometry[1:]) if needed[0] else None
    d_weight = conv2d_weight(x, weight.shape, grad, *geometry[1:]) if needed[1] else None
    return dx, d_weight, grad.sum((0, 2, 3)) if needed[2] else None
