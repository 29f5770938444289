"""RandAugment: a few random operations of one common strength on every image.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
https://arxiv.org/abs/1909.13719; the operations are those of ``timm.data.auto_augment``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.data import auto_augment
from timm.data.auto_augment import AugmentOp

from ghostlab.strategies.base import Strategy, Task, Transform
from ghostlab.strategies.checks import at_least_one, within

__all__ = ["RandAugment", "keep_one_bit", "operation_options", "rand_augment"]

CHANCE = 0.5
"""Probability with which each drawn operation is applied, as in timm."""


def rand_augment(magnitude: float, layers: int, std: float, image_size: int, mean: Sequence[float]) -> Transform:
    """A transform PIL RGB image -> PIL RGB image of the same size: ``layers`` of 15 operations, drawn with replacement.

    Each is applied with probability 0.5 at a strength drawn from N(``magnitude``, ``std``), clipped to
    [0, max(10, ``magnitude``)]. ``mean`` (channels, in [0, 1]) is the colour that fills uncovered places. With
    magnitude 9 and std 0.5 this is timm's ``rand-m9-mstd0.5``, the setting of GhostNetV2. Draws from ``random`` and
    ``numpy.random``.
    """
    options = operation_options(image_size, mean, std) | {"magnitude_max": max(10, magnitude)}
    operations = auto_augment.rand_augment_ops(magnitude, prob=CHANCE, hparams=options)
    keep_one_bit(operations)
    return auto_augment.RandAugment(operations, num_layers=layers)


@dataclass
class RandAugment(Strategy):
    """RandAugment on the training images, after crop and flip."""

    name = "randaugment"
    staged = ("magnitude",)
    magnitude: float = 9.0
    layers: int = 2
    std: float = 0.5

    def __post_init__(self) -> None:
        within("strategy.randaugment.magnitude", self.magnitude, "[0, 30]")
        within("strategy.randaugment.std", self.std, "[0, 30]")
        at_least_one("strategy.randaugment.layers", self.layers)

    def image_transforms(self, task: Task) -> Sequence[Transform]:
        return [rand_augment(self.magnitude, self.layers, self.std, task.image_size, task.mean)]

    def describe(self) -> str:
        return f"{self.layers} operations of magnitude {self.magnitude:g} (std {self.std:g})"


def operation_options(image_size: int, mean: Sequence[float], std: float) -> dict[str, Any]:
    """What timm's operations need to know: the largest shift in pixels, the colour (RGB) of uncovered places, and the
    standard deviation of strengths.
    """
    return {
        "translate_const": int(image_size * 0.45),
        "img_mean": tuple(min(255, round(255 * channel)) for channel in mean),
        "magnitude_std": std,
    }


def keep_one_bit(operations: Sequence[AugmentOp]) -> None:
    """Let posterization keep at least 1 of 8 bits, in place.

    timm, like EfficientNet's code, may ask for 0 bits. That was a black image until Pillow 13, which raises an error.
    """
    for operation in operations:
        if operation.name.startswith("Posterize"):
            operation.level_fn = partial(_at_least_one, operation.level_fn)


def _at_least_one(bits: Callable[..., tuple[int]], level: float, options: dict[str, Any]) -> tuple[int]:
    return (max(1, bits(level, options)[0]),)
