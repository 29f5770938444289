"""Random erasing: a random rectangle of some images is overwritten with noise.

Zhong et al., "Random Erasing Data Augmentation", https://arxiv.org/abs/1708.04896, in the form of
``timm.data.random_erasing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timm.data.random_erasing import RandomErasing

from ghostlab.strategies.base import Strategy, Task, Transform
from ghostlab.strategies.checks import one_of, within

__all__ = ["MODES", "Erasing", "random_erasing"]

MODES = ("pixel", "rand", "const")
"""Noise for every pixel, one random colour, or the mean colour."""


def random_erasing(probability: float, mode: str) -> Transform:
    """A transform (C, H, W) -> (C, H, W) of a normalized image on the CPU, in place.

    With ``probability`` one rectangle of 2 to 33 % of the area and an aspect ratio from 0.3 to 3.3 is overwritten.
    Draws from ``random`` and torch's generator.
    """
    return RandomErasing(probability, mode=mode, device="cpu")


@dataclass
class Erasing(Strategy):
    """Random erasing of the training images, after normalization."""

    name = "erasing"
    probability: float = 0.2
    mode: str = "pixel"

    def __post_init__(self) -> None:
        within("strategy.erasing.probability", self.probability, "(0, 1]")
        one_of("strategy.erasing.mode", self.mode, MODES)

    def tensor_transforms(self, task: Task) -> Sequence[Transform]:
        return [random_erasing(self.probability, self.mode)]

    def describe(self) -> str:
        return f"probability {self.probability:g}, mode {self.mode}"
