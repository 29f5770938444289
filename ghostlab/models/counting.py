"""Parameters and multiply-accumulates (MACs) of a model."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ghostlab.models.sizes import on_meta

__all__ = ["Counts", "count"]


class Counts(NamedTuple):
    """``params``: elements of all parameters; ``macs``: multiply-accumulates of one image."""

    params: int
    macs: int


def count(model: nn.Module, image_size: int | tuple[int, int] = 224) -> Counts:
    """Counts at ``image_size`` (pixels, or height and width), batch 1, evaluation mode.

    MACs are those of convolutions and matrix products, as papers count them: no BN, activation, bias or pooling, and
    all branches of a multi-branch convolution.
    Nothing is computed (meta tensors), so it takes the same fraction of a second at any size. Raises ``UsageError``
    for a size that the model does not take.
    """
    with FlopCounterMode(display=False) as counter:
        on_meta(model, image_size)
    return Counts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
