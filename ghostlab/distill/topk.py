"""Answers made small: the K most probable classes of each, 4 bytes a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LARGEST", "compress", "expand"]

LARGEST = 2**16
"""More classes than this have no 2-byte index."""
FLOOR = 2.0**-25
"""What a class that got no mass is given: half of the smallest probability that float16 holds."""


def compress(logits: Tensor, k: int) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """The ``k`` most probable classes of logits (B, classes) and their probabilities, both (B, k), on the CPU."""
    top = logits.float().softmax(1).topk(k, dim=1)
    classes, probabilities = top.indices.cpu().numpy(), top.values.cpu().numpy()
    return classes.astype(np.uint16), probabilities.astype(np.float16)


def expand(classes: Tensor, probabilities: Tensor, num_classes: int) -> Tensor:
    """Logits (B, ``num_classes``), float32: logarithms of the stored probabilities (B, k) of ``classes`` (B, k).

    What they leave of 1 is shared out evenly among the other classes, as in Shen and Xing, "A Fast Knowledge
    Distillation Framework", https://arxiv.org/abs/2112.01528, section 3.2.
    """
    stored = probabilities.float()
    others = max(num_classes - stored.shape[1], 1)
    rest = (1 - stored.sum(1, keepdim=True)).clamp(min=0) / others
    full = rest.expand(-1, num_classes).scatter(1, classes.long(), stored)
    return full.clamp(min=FLOOR).log()
