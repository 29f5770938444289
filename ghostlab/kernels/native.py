"""Depthwise convolutions and their gradients on the CPU, by C++ kernels for channels-last images."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.kernels.build import library
from ghostlab.kernels.geometry import Geometry
from ghostlab.kernels.layout import pixel_step, pixels_apart

__all__ = ["SOURCE", "convolve", "input_gradient", "kernel_gradient", "kernels"]

SOURCE = Path(__file__).parent / "csrc" / "convolution.cpp"
MOST = 2**16
"""Of stride and padding, so that no address can overflow."""


def kernels(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Those of this machine for ``dtype``, where there are any."""
    return library(SOURCE, dtype)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """x (B, C, H, W) convolved with weight (C, 1, k_h, k_w), plus bias (C,): (B, C, H', W'), channels-last.

    Like the functions below raises ``UsageError`` for what does not fit together or has no kernel, before anything is
    read.
    """
    shape = _checked(x.shape, weight, bias, geometry, x)
    x, weight = pixels_apart(x), weight.contiguous()
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    bias = bias if bias is None else bias.contiguous()
    _call("convolve", _convolution(x.shape, shape, pixel_step(x), 0, geometry), x, weight, bias, out)
    return out


def input_gradient(grad: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    """The gradient of the input (B, C, H, W) = ``shape``, channels-last, from that of the output."""
    _checked(shape, weight, None, geometry, grad, grad=grad)
    grad, weight = pixels_apart(grad), weight.contiguous()
    out = torch.empty(shape, dtype=grad.dtype, memory_format=torch.channels_last)
    _call("input_gradient", _convolution(shape, grad.shape, 0, pixel_step(grad), geometry), grad, weight, out)
    return out


def kernel_gradient(x: Tensor, grad: Tensor, weight: Tensor, geometry: Geometry, bias: bool) -> tuple[Tensor, Tensor]:
    """The gradients of ``weight`` and, with ``bias``, of the bias (C,)."""
    _checked(x.shape, weight, None, geometry, x, grad, grad=grad)
    x, grad = pixels_apart(x), pixels_apart(grad)
    d_weight, d_bias = x.new_empty(weight.shape), x.new_empty(len(weight))
    convolution = _convolution(x.shape, grad.shape, pixel_step(x), pixel_step(grad), geometry)
    _call("kernel_gradient", convolution, x, grad, d_weight, d_bias if bias else None)
    return d_weight, d_bias


class _ConvolutionStruct(ctypes.Structure):
    """As in ``csrc/geometry.h``."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("batch", "channels", "in_h", "in_w", "out_h", "out_w"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w"),
            *("in_step", "out_step", "threads"),
        )
    ]


def _convolution(x: torch.Size, out: torch.Size, in_step: int, out_step: int, geometry: Geometry) -> _ConvolutionStruct:
    return _ConvolutionStruct(
        *(*x, *out[2:], *geometry.size, *geometry.stride, *geometry.padding),
        *(in_step, out_step, torch.get_num_threads()),
    )


def _checked(
    x: torch.Size, weight: Tensor, bias: Tensor | None, geometry: Geometry, *read: Tensor, grad: Tensor | None = None
) -> torch.Size:
    """The shape of the output for an input of the shape ``x``; ``read`` are the images that are read."""
    out = _output(x, geometry)
    expected = (("weight", weight, (x[1], 1, *geometry.size)), ("bias", bias, (x[1],)), ("grad", grad, out))
    for name, tensor, shape in expected:
        if tensor is not None and tensor.shape != shape:
            raise UsageError(f"{name} {tuple(tensor.shape)}: must be {tuple(shape)} for images {tuple(x)}")
    dtype, given = weight.dtype, [weight, *read, *([] if bias is None else [bias])]
    if kernels(dtype) is None or any(one.dtype != dtype or one.device.type != "cpu" for one in given):
        found = ", ".join(f"{one.dtype} on {one.device}" for one in given)
        raise UsageError(f"{found}: must be one of float32 and float64, on the CPU, with a C++ compiler")
    return out


@functools.lru_cache(1024)
def _output(x: torch.Size, geometry: Geometry) -> torch.Size:
    """The shape of the output; ``UsageError`` where there is none, or no kernel."""
    if geometry.dilation != (1, 1) or min(geometry.padding) < 0 or min(geometry.stride) < 1:
        raise UsageError(f"{geometry}: has no C++ kernel")
    if max(*geometry.stride, *geometry.padding) > MOST:
        raise UsageError(f"{geometry}: stride and padding must be at most {MOST}")
    out = torch.Size((*x[:2], *geometry.output(x)))
    if len(x) != 4 or not out.numel() or min(out) < 1:
        raise UsageError(
            f"images {tuple(x)}: must be (B, C, H, W), none of the four 0, and not smaller than the kernel"
        )
    return out


def _call(name: str, convolution: _ConvolutionStruct, *tensors: Tensor | None) -> None:
    compiled = kernels(tensors[0].dtype)  # type: ignore[union-attr]
    pointers = (ctypes.c_void_p(None if one is None else one.data_ptr()) for one in tensors)
    getattr(compiled, name)(ctypes.byref(convolution), *pointers)
