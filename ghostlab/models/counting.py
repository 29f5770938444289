"""Parameters and multiply-accumulates (MACs) of a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ghostlab.reparam.fold import computing
from ghostlab.reparam.trace import evaluating

__all__ = ["Counts", "count"]


class Counts(NamedTuple):
    """``params``: elements of all parameters; ``macs``: multiply-accumulates of one image."""

    params: int
    macs: int


def count(model: nn.Module, image_size: int | tuple[int, int] = 224) -> Counts:
    """Counts at ``image_size`` (pixels, or height and width), batch 1, evaluation mode.

    MACs are those of convolutions and matrix products, as papers count them: no BN, activation, bias or pooling, and
    all branches of a multi-branch convolution.
    Nothing is computed (meta tensors), so it takes the same fraction of a second at any size.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    image = torch.empty(1, first.in_channels, height, width, device="meta", dtype=first.weight.dtype)
    with evaluating(model), computing(model, "never"), FlopCounterMode(display=False) as counter:
        functional_call(model, {name: tensor.to("meta") for name, tensor in tensors.items()}, (image,))
    return Counts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
