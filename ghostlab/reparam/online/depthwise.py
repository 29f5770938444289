"""Depthwise k x k convolutions: moments and gradients by kernels that read each image once."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.reparam.online import eager, native, triton_depthwise
from ghostlab.reparam.online.arguments import SIZES, STRIDES

__all__ = ["Depthwise"]


def _form(x: Tensor, size: int, stride: int) -> ModuleType:
    if native.supports(x, size, stride):
        return native
    fits = x.is_cuda and x.dtype in triton_depthwise.DTYPES and size in SIZES and stride in STRIDES
    return triton_depthwise if fits and triton_depthwise.available() else eager


@torch.library.custom_op("ghostlab::depthwise_moments", mutates_args=())
def _moments(x: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    return _form(x, size, stride).moments(x, size, stride, padding)


@torch.library.custom_op("ghostlab::depthwise_kernel_gradient", mutates_args=())
def _kernel_gradient(x: Tensor, grad: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    return _form(x, size, stride).kernel_gradient(x, grad, size, stride, padding)


@torch.library.custom_op("ghostlab::depthwise_input_gradient", mutates_args=())
def _input_gradient(
    x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor, size: int, stride: int, padding: int
) -> Tensor:
    form = _form(x, size, stride)
    dx = form.input_gradient(x, grad, kernel, quadratic, constant, size, stride, padding)
    return dx.contiguous(memory_format=torch.channels_last)


@_moments.register_fake
def _(x: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    precise = x.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32))
    return precise.new_empty(x.shape[1], size**2), precise.new_empty(x.shape[1], size**2, size**2)


@_kernel_gradient.register_fake
def _(x: Tensor, grad: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    precise = x.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32))
    return precise.new_empty(x.shape[1], size**2), precise.new_empty(x.shape[1])


@_input_gradient.register_fake
def _(
    x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor, size: int, stride: int, padding: int
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution with a square kernel: G = C groups of one output, K = size * size values a kernel."""

    size: int
    stride: int
    padding: int

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (C, K) and covariance (C, K, K) of the patches of ``x``."""
        return _moments(x, self.size, self.stride, self.padding)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """``x`` convolved with kernel (C, 1, K), plus bias (C, 1)."""
        weight = kernel.view(-1, 1, self.size, self.size).to(x.dtype)
        return F.conv2d(x, weight, bias[:, 0].to(x.dtype), self.stride, self.padding, 1, len(weight))

    def kernel_gradient(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of kernel (C, 1, K) and bias (C, 1)."""
        d_kernel, d_bias = _kernel_gradient(x, grad, self.size, self.stride, self.padding)
        return d_kernel.unsqueeze(1), d_bias.unsqueeze(1)

    def input_gradient(self, x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor) -> Tensor:
        """``grad`` back through the kernel, plus ``quadratic p + constant`` of each patch p, added where p was read."""
        return _input_gradient(x, grad, kernel[:, 0], quadratic, constant, self.size, self.stride, self.padding)
