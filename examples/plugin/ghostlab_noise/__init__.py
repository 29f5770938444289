"""Gaussian noise: every training image gets a little of it, drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["Noise", "add_noise"]


def add_noise(image: Tensor, std: float) -> Tensor:
    """``image`` (3, H, W), normalised, plus noise of standard deviation ``std`` in the same unit."""
    return image + std * torch.randn_like(image)


@dataclass
class Noise(Strategy):
    """Adds Gaussian noise to the training images."""

    name = "noise"
    stage = "images"
    std: float = 0.1

    def __post_init__(self) -> None:
        within("strategy.noise.std", self.std, "[0, inf)")

    def tensor_transforms(self, task: Task) -> Sequence[Callable[[Tensor], Tensor]]:
        return [partial(add_noise, std=self.std)]

    def describe(self) -> str:
        return f"std {self.std:g}"
