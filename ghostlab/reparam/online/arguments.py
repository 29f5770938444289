"""What the depthwise forms require of their arguments, checked before the address of any of them is handed on."""

from __future__ import annotations

import torch
from torch import Tensor

from ghostlab.errors import UsageError

__all__ = ["SIZES", "STRIDES", "check_arguments", "check_form", "output_size"]

SIZES, STRIDES = (3, 5), (1, 2)
"""Of the convolutions that have kernels in C++ and Triton."""


def output_size(x: Tensor, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width of the output; ``UsageError`` where the kernel fits in the padded image nowhere."""
    height, width = (length + 2 * padding - size for length in x.shape[2:])
    if height < 0 or width < 0:
        raise UsageError(
            f"image {tuple(x.shape[2:])} with padding {padding} is smaller than the kernel, {size} x {size}"
        )
    return height // stride + 1, width // stride + 1


def check_arguments(x: Tensor, size: int, stride: int, padding: int, *others: Tensor) -> tuple[int, int]:
    """Height and width of the output for x (B, C, H, W).

    The ``others`` are, as far as they are there, grad (B, C, H', W'), kernel (C, K), quadratic (C, K, K) and constant
    (C, K), with K = size * size. ``UsageError`` names the first that has another shape or device, and a kernel that
    does not fit.
    """
    if x.ndim != 4 or not x.numel():
        raise UsageError(f"x of shape {tuple(x.shape)}: must be images (B, C, H, W), none of the four 0")
    for name, value, least in (("size", size, 1), ("stride", stride, 1), ("padding", padding, 0)):
        if value < least:
            raise UsageError(f"{name}={value}: must be at least {least}")
    output = output_size(x, size, stride, padding)
    channels, entries = x.shape[1], size * size
    shapes = {
        "grad": (*x.shape[:2], *output),
        "kernel": (channels, entries),
        "quadratic": (channels, entries, entries),
        "constant": (channels, entries),
    }
    for (name, shape), other in zip(shapes.items(), others, strict=False):
        if tuple(other.shape) != shape or other.device != x.device:
            raise UsageError(
                f"{name} {tuple(other.shape)} on {other.device}: must be {shape} on {x.device} for x {tuple(x.shape)}"
            )
    return output


def check_form(form: str, dtypes: tuple[torch.dtype, ...], size: int, stride: int, *tensors: Tensor) -> None:
    """``UsageError`` for what the kernels of ``form`` were not written for."""
    for tensor in tensors:
        if tensor.dtype not in dtypes:
            raise UsageError(f"dtype {tensor.dtype} has no {form} form; allowed: {', '.join(map(str, dtypes))}")
    if size not in SIZES or stride not in STRIDES:
        raise UsageError(f"size {size} and stride {stride} have no {form} form; allowed: {SIZES} and {STRIDES}")
