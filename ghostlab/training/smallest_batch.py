"""Whether a batch is large enough to train on: a batch norm over maps of one pixel needs two images."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ghostlab.data.samples import preserve_random_state
from ghostlab.reparam.copying import copy_of

__all__ = ["trains_on"]

REFUSAL = "more than 1 value per channel"
"""Of PyTorch's batch norms, in training, where they would divide by zero."""


@torch.no_grad()
def trains_on(model: nn.Module, images: Tensor) -> bool:
    """Whether ``model`` finds statistics in images (B, 3, H, W) on its device; a single image is tried on a copy.

    Norms that are synchronised have the images of the other processes as well.
    """
    if len(images) != 1:
        return len(images) > 1
    if dist.is_initialized() and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        return True
    try:
        with preserve_random_state():
            copy_of(model).train()(images)
    except ValueError as error:
        if REFUSAL not in str(error):
            raise
        return False
    return True
