"""The shape of a plain convolution: what its patches are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Geometry", "geometry_of"]

_Pair = tuple[int, int]


class Geometry(NamedTuple):
    """A convolution with zeros as padding, the same on both sides; a field each as in ``nn.Conv2d``."""

    size: _Pair
    stride: _Pair
    padding: _Pair
    dilation: _Pair
    groups: int

    @property
    def is_pointwise(self) -> bool:
        """Whether every output is a product of one pixel with one matrix, and every pixel has an output."""
        return self.groups == 1 and self.size == self.stride == (1, 1) and self.padding == (0, 0)

    @property
    def is_square(self) -> bool:
        """Whether height and width are treated alike, without dilation."""
        return self.dilation == (1, 1) and all(a == b for a, b in (self.size, self.stride, self.padding))

    def output(self, shape: torch.Size) -> _Pair:
        """Height and width of the output for images of the shape (B, C, H, W)."""
        sides = zip(shape[-2:], self.size, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)
        return height, width

    def outputs(self, x: Tensor) -> int:
        """How many values a channel of the output has for ``x`` (B, C, H, W)."""
        return len(x) * math.prod(self.output(x.shape))


def geometry_of(conv: nn.Conv2d, groups: int) -> Geometry | None:
    """The geometry of ``conv`` with ``groups``, or None where its class or its padding is not a plain convolution's."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros":
        return None
    reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding == "same" and any(side % 2 for side in reach):
        return None
    named = {"same": (reach[0] // 2, reach[1] // 2), "valid": (0, 0)}
    padding = named[conv.padding] if isinstance(conv.padding, str) else conv.padding
    size, stride, padding, dilation = (
        (pair[0], pair[1]) for pair in (conv.kernel_size, conv.stride, padding, conv.dilation)
    )
    return Geometry(size, stride, padding, dilation, groups)
