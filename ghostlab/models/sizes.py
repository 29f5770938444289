"""Which images a network takes, found out on the meta device, where nothing is computed."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ghostlab.errors import UsageError
from ghostlab.reparam.fold import computing
from ghostlab.reparam.trace import evaluating, image_channels

__all__ = ["accepted_near", "on_meta", "refusal"]

MULTIPLES = (8, 14, 16, 32, 64)
"""Sides that networks take are often multiples of one of these: the strides of stages, and the sides of patches."""


def on_meta(model: nn.Module, image_size: int | tuple[int, int], channels: int | None = None) -> Any:
    """What ``model`` puts out for one image of ``image_size`` (pixels, or height and width), in evaluation mode.

    ``channels`` are by default those that the model was made for. Raises ``UsageError`` for images that it cannot take.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    named = chain(model.named_parameters(), model.named_buffers())
    tensors = {name: tensor.detach().to("meta") for name, tensor in named}
    shape = (1, channels or image_channels(model), height, width)
    image = torch.empty(shape, device="meta", dtype=next(t.dtype for t in tensors.values() if t.is_floating_point()))
    try:
        with evaluating(model), computing(model, "never"):
            return functional_call(model, tensors, (image,))
    except Exception as error:  # networks have many ways to say it
        cause = " ".join(str(error).split())[:120].rstrip(".") or f"{type(error).__name__} in {type(model).__name__}"
        raise UsageError(f"{type(model).__name__} takes no images of {height} x {width} px: {cause}") from error


def refusal(model: nn.Module, image_size: int, channels: int | None = None) -> str:
    """Why ``model`` cannot take images of that size, in its own words; empty if it can."""
    try:
        on_meta(model, image_size, channels)
    except UsageError as error:
        return str(error).partition(" px: ")[2]
    return ""


def accepted_near(model: nn.Module, image_size: int) -> list[int]:
    """The nearest smaller and larger sizes that ``model`` takes, of those that networks often take and its own."""
    native = getattr(model, "pretrained_cfg", None) or {}
    sides = {image_size // m * m for m in MULTIPLES} | {(image_size // m + 1) * m for m in MULTIPLES}
    sides |= {native["input_size"][-1]} if "input_size" in native else set()
    taken = sorted(side for side in sides if side > 0 and not refusal(model, side))
    below, above = [s for s in taken if s < image_size], [s for s in taken if s > image_size]
    return below[-1:] + above[:1]
