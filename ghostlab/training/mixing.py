"""Mixing whole batches: which mixer and what it draws are functions of the batch's seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.data.samples import seeded
from ghostlab.strategies.base import Strategy, Task

__all__ = ["Mixing"]

SALT = 0x5DEECE66
"""The seed of a batch is that of its first image, whose own transforms shall not draw the same numbers."""


class Mixing:
    """What the joined strategies do to batches of images; false when they do nothing."""

    def __init__(self, strategies: Sequence[Strategy], task: Task) -> None:
        self.num_classes = task.num_classes
        self._mixers = [mixer for s in strategies if (mixer := s.mixer(task)) is not None]

    def __bool__(self) -> bool:
        return bool(self._mixers)

    def __call__(self, images: Tensor, targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mixed images (B, C, H, W) and probabilities (B, classes), for class indices (B,) or probabilities."""
        if not self._mixers:
            return images, targets
        if targets.ndim == 1:
            targets = F.one_hot(targets, self.num_classes).float()
        with seeded(seed ^ SALT):
            return self._mixers[int(torch.randint(len(self._mixers), ()))](images, targets)
