"""Gates enlarged by doubling every pixel, which all runtimes understand alike.

Enlarging to any other size is not the same everywhere: some round the place of the nearest pixel differently, of which
a network's answers show errors of a percent. A gate has half the size of its map, rounded down, so that for each pixel
i of the map the nearest is i // 2 where its side is even, and (i - 1) // 2, but at least 0, where it is odd.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.deploy.lean import LeanAttention
from ghostlab.models.ghost_blocks import halved

__all__ = ["doubling"]


def doubling(model: nn.Module) -> nn.Module:
    """The lean network, in place, with the same outputs; any other model is returned as it is."""
    for module in [*model.modules()]:
        attention = getattr(module, "short_conv", None)
        if isinstance(attention, LeanAttention) and attention.upsample == "nearest":
            module.short_conv = DoublingAttention(attention)
    return model


class DoublingAttention(nn.Sequential):
    """What ``LeanAttention`` computes."""

    def __init__(self, old: LeanAttention) -> None:
        super().__init__(OrderedDict(old.named_children()))

    def forward(self, x: Tensor) -> Tensor:
        return _doubled(torch.sigmoid(super().forward(halved(x))), x.shape[-2], x.shape[-1])


def _doubled(gate: Tensor, height: int, width: int) -> Tensor:
    if 1 in (height, width):  # such a side is not halved
        return F.interpolate(gate, size=(height, width))
    gate = F.interpolate(gate, scale_factor=2.0)
    if height % 2:
        gate = torch.cat([gate[:, :, :1], gate], dim=2)
    return torch.cat([gate[..., :1], gate], dim=3) if width % 2 else gate
