"""The stages of a run: in each epoch, what its images are made into, how they are mixed and how strong all that is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.data.samples import seeded
from ghostlab.data.transforms import View
from ghostlab.strategies.base import Stage, Strategy, Task

__all__ = ["Mixing", "Stages"]


@dataclass(frozen=True)
class StagePart:
    """A stage, and what the joined strategies do in it."""

    stage: Stage
    view: View
    mixing: Mixing


class Stages:
    """Those that a joined strategy plans, or a single one: every epoch, counted from 0, belongs to one of them."""

    def __init__(self, strategies: Sequence[Strategy], task: Task) -> None:
        planned = next((plan for s in strategies if (plan := s.plan(task))), [Stage(0, task.image_size)])
        self._parts = [_part(stage, strategies, task) for stage in planned]
        self._starts = [stage.start for stage in planned]

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def views(self) -> list[View]:
        """What training images are made into, for each stage."""
        return [part.view for part in self._parts]

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in any stage."""
        return any(part.mixing for part in self._parts)

    @property
    def last(self) -> Stage:
        return self._parts[-1].stage

    @property
    def smallest(self) -> int:
        """The side of the smallest training images, in pixels."""
        return min(part.stage.image_size for part in self._parts)

    def number(self, epoch: int) -> int:
        """The number, from 0, of the stage that an epoch belongs to."""
        return bisect_right(self._starts, epoch) - 1

    def stage(self, epoch: int) -> Stage:
        return self._parts[self.number(epoch)].stage

    def mixing(self, epoch: int) -> Mixing:
        """How the batches of an epoch are mixed."""
        return self._parts[self.number(epoch)].mixing

    def identity(self) -> list[dict[str, Any]]:
        """All stages as plain values."""
        return [asdict(part.stage) for part in self._parts]


def _part(stage: Stage, strategies: Sequence[Strategy], task: Task) -> StagePart:
    then = replace(task, image_size=stage.image_size)
    active = [strategy for s in strategies if (strategy := s.at(stage.strengths)) is not None]
    images = [t for s in active for t in s.image_transforms(then)]
    tensors = [t for s in active for t in s.tensor_transforms(then)]
    return StagePart(stage, View(stage.image_size, images, tensors), Mixing(active, then))


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
