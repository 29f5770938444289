"""The attention of a lean network in forms that other runtimes compute alike, with the same outputs."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.deploy.lean import LeanAttention
from ghostlab.models.ghost_blocks import halved

__all__ = ["DoublingAttention", "SizedAttention", "with_attention"]


class ConvertedAttention(nn.Sequential):
    """What a ``LeanAttention`` with one of ``upsamplings`` computes."""

    upsamplings: ClassVar[tuple[str, ...]] = ("nearest", "bilinear")

    def __init__(self, old: LeanAttention) -> None:
        super().__init__(OrderedDict(old.named_children()))
        self.upsample = old.upsample


class SizedAttention(ConvertedAttention):
    """With the sizes of its maps as numbers, which is what pnnx understands, and maps of one pixel as they are."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = map(int, x.shape[-2:])
        if height == width == 1:
            return torch.sigmoid(super().forward(x))
        gate = torch.sigmoid(super().forward(F.avg_pool2d(x, (min(2, height), min(2, width)))))
        return F.interpolate(gate, size=(height, width), mode=self.upsample)


class DoublingAttention(ConvertedAttention):
    """Enlarged by doubling every pixel, which all runtimes understand alike.

    Enlarging to any other size is not the same everywhere: some round the place of the nearest pixel differently, of
    which a network's answers show errors of a percent. A gate has half the size of its map, rounded down, so that for
    each pixel i of the map the nearest is i // 2 where its side is even, and (i - 1) // 2, but at least 0, where it is
    odd.
    """

    upsamplings = ("nearest",)

    def forward(self, x: Tensor) -> Tensor:
        return _doubled(torch.sigmoid(super().forward(halved(x))), x.shape[-2], x.shape[-1])


def _doubled(gate: Tensor, height: int, width: int) -> Tensor:
    if 1 in (height, width):  # such a side is not halved
        return F.interpolate(gate, size=(height, width))
    gate = F.interpolate(gate, scale_factor=2.0)
    if height % 2:
        gate = torch.cat([gate[:, :, :1], gate], dim=2)
    return torch.cat([gate[..., :1], gate], dim=3) if width % 2 else gate


def with_attention(model: nn.Module, form: type[ConvertedAttention]) -> nn.Module:
    """The lean network, in place, with its attention in that form; any other model is returned as it is."""
    for module in [*model.modules()]:
        attention = getattr(module, "short_conv", None)
        if isinstance(attention, LeanAttention) and attention.upsample in form.upsamplings:
            module.short_conv = form(attention)
    return model
