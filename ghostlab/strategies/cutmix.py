"""CutMix: a rectangle of every image is replaced by that of another one of its batch; targets follow the areas.

Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers", https://arxiv.org/abs/1905.04899.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import within
from ghostlab.strategies.mixup import draw

__all__ = ["Box", "CutMix", "draw_box", "paste"]


class Box(NamedTuple):
    """A rectangle of pixels; ``bottom`` and ``right`` are the first row and column outside."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


def paste(images: Tensor, targets: Tensor, box: Box, permutation: Tensor) -> tuple[Tensor, Tensor]:
    """Copy ``box`` of ``images[permutation]`` into a copy of the images (B, C, H, W).

    The targets, probabilities (B, classes), are mixed by the share of pixels that was replaced.
    """
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[:, :, rows, columns][permutation]
    replaced = box.area / (images.shape[-2] * images.shape[-1])
    return mixed, targets.lerp(targets[permutation], replaced)


def draw_box(lam: float, height: int, width: int) -> Box:
    """A box of about ``1 - lam`` of the area around a random centre, cut off at the borders (equation 2)."""
    ratio = (1 - lam) ** 0.5
    top, bottom = _span(int(torch.randint(height, ())), int(height * ratio), height)
    left, right = _span(int(torch.randint(width, ())), int(width * ratio), width)
    return Box(top, bottom, left, right)


def _span(centre: int, length: int, limit: int) -> tuple[int, int]:
    start = centre - length // 2
    return max(start, 0), min(start + length, limit)


@dataclass
class CutMix(Strategy):
    """CutMix of whole batches, with one rectangle for all of a batch."""

    name = "cutmix"
    staged = ("alpha",)
    alpha: float = 1.0

    def __post_init__(self) -> None:
        within("strategy.cutmix.alpha", self.alpha, "(0, inf)")

    def mixer(self, task: Task) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        def mixed(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            lam, permutation = draw(self.alpha, len(images), images.device)
            return paste(images, targets, draw_box(lam, *images.shape[-2:]), permutation)

        return mixed

    def describe(self) -> str:
        return f"alpha {self.alpha:g}"
