"""The depthwise operations on the CPU, by C++ kernels that keep a block of channels of one image in the cache."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.kernels.build import VALUES, library
from ghostlab.kernels.layout import pixel_step, pixels_apart
from ghostlab.reparam.online.arguments import SIZES, STRIDES, check_arguments, check_form

__all__ = ["has_kernels", "input_gradient", "kernel_gradient", "kernels", "moments", "supports"]

SOURCE = Path(__file__).parent / "csrc" / "depthwise.cpp"


def kernels(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Those of this machine for ``dtype``, where there are any."""
    return library(SOURCE, dtype)


@torch.compiler.assume_constant_result
def has_kernels(dtype: torch.dtype) -> bool:
    """Whether there are kernels for ``dtype``."""
    return kernels(dtype) is not None


def supports(x: Tensor, size: int, stride: int) -> bool:
    """Whether there are kernels for ``x`` and a convolution of this size and stride on this machine."""
    fits = x.device.type == "cpu" and size in SIZES and stride in STRIDES
    return fits and has_kernels(x.dtype)


def moments(x: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Mean (C, K) and biased covariance (C, K, K) of the K = size * size values under the kernel, over all outputs.

    Like the functions below raises ``UsageError`` for arguments that do not fit together or have no C++ form, before
    anything is read.
    """
    output = _checked(size, stride, padding, x)
    x = pixels_apart(x)
    mean = x.new_empty(x.shape[1], size**2)
    cov = x.new_empty(x.shape[1], size**2, size**2)
    _call("moments", size, _geometry(x, None, output, stride, padding), x, mean, cov)
    return mean, cov


def kernel_gradient(x: Tensor, grad: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Gradients of the kernel (C, K) and the bias (C,)."""
    output = _checked(size, stride, padding, x, grad)
    x, grad = pixels_apart(x), pixels_apart(grad)
    d_kernel, d_bias = x.new_empty(x.shape[1], size**2), x.new_empty(x.shape[1])
    _call("kernel_gradient", size, _geometry(x, grad, output, stride, padding), x, grad, d_kernel, d_bias)
    return d_kernel, d_bias


def input_gradient(
    x: Tensor,
    grad: Tensor,
    kernel: Tensor,
    quadratic: Tensor,
    constant: Tensor,
    size: int,
    stride: int,
    padding: int,
) -> Tensor:
    """``grad`` back through kernel (C, K), plus ``quadratic p + constant`` of each patch p, added where p was read."""
    output = _checked(size, stride, padding, x, grad, kernel, quadratic, constant)
    x, grad = pixels_apart(x), pixels_apart(grad)
    kernel, quadratic, constant = kernel.contiguous(), quadratic.contiguous(), constant.contiguous()
    out = torch.empty(x.shape, dtype=x.dtype, memory_format=torch.channels_last)
    geometry = _geometry(x, grad, output, stride, padding)
    _call("input_gradient", size, geometry, x, grad, kernel, quadratic, constant, out)
    return out


class _GeometryStruct(ctypes.Structure):
    """As in ``csrc/blocks.h``."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("batch", "in_h", "in_w", "out_h", "out_w", "channels"),
            *("in_step", "out_step", "stride", "pad", "threads"),
        )
    ]


def _checked(size: int, stride: int, padding: int, x: Tensor, *others: Tensor) -> tuple[int, int]:
    """Height and width of the output of what the kernels may be given."""
    output = check_arguments(x, size, stride, padding, *others)
    check_form("C++", tuple(VALUES), size, stride, x, *others)
    if x.device.type != "cpu" or any(other.dtype != x.dtype for other in others):
        given = ", ".join(f"{tensor.dtype} on {tensor.device}" for tensor in (x, *others))
        raise UsageError(f"{given}: the C++ form needs one dtype, on the CPU")
    return output


def _geometry(x: Tensor, grad: Tensor | None, output: tuple[int, int], stride: int, padding: int) -> _GeometryStruct:
    batch, channels, height, width = x.shape
    out_step = channels if grad is None else pixel_step(grad)
    return _GeometryStruct(
        *(batch, height, width, *output, channels),
        *(pixel_step(x), out_step, stride, padding, torch.get_num_threads()),
    )


def _call(name: str, size: int, geometry: _GeometryStruct, *tensors: Tensor) -> None:
    compiled = kernels(tensors[0].dtype)
    assert compiled is not None
    getattr(compiled, f"{name}_{size}")(ctypes.byref(geometry), *(ctypes.c_void_p(t.data_ptr()) for t in tensors))
