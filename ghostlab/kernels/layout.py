"""Where the pixels of a tensor of images (B, C, H, W) lie."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pixel_step", "pixels_apart"]


def pixel_step(x: Tensor) -> int:
    """From one pixel to the next, in values."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x.shape[1]
    return next((x.stride(dim) for dim in (3, 2, 0) if x.shape[dim] > 1), x.shape[1])


def pixels_apart(x: Tensor) -> Tensor:
    """``x`` itself where it is channels-last and its pixels follow each other at one distance, as in a slice of
    channels; else a copy."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    height, width = x.shape[2:]
    step = pixel_step(x)
    strides = (height * width * step, 1, width * step, step)
    same = all(size == 1 or have == want for size, have, want in zip(x.shape, x.stride(), strides, strict=True))
    return x if same else x.contiguous(memory_format=torch.channels_last)
