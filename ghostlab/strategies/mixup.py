"""Mixup: every image is blended with another one of its batch, and so are their targets.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", https://arxiv.org/abs/1710.09412.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Beta

from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["Mixup", "draw", "mix"]


def mix(images: Tensor, targets: Tensor, lam: float, permutation: Tensor) -> tuple[Tensor, Tensor]:
    """``lam * x + (1 - lam) * x[permutation]`` for images (B, C, H, W) and probabilities (B, classes); section 2."""
    return images.lerp(images[permutation], 1 - lam), targets.lerp(targets[permutation], 1 - lam)


def draw(alpha: float, batch: int, device: torch.device) -> tuple[float, Tensor]:
    """The share of the first image, from Beta(alpha, alpha), and the partners (batch,) on ``device``.

    Both come from torch's CPU generator: the device is never waited for, and a seed gives the same mix on any device.
    """
    lam = Beta(alpha, alpha).sample().item()
    return lam, torch.randperm(batch).to(device, non_blocking=True)


@dataclass
class Mixup(Strategy):
    """Mixup of whole batches, with one share for all of a batch."""

    name = "mixup"
    staged = ("alpha",)
    alpha: float = 0.2

    def __post_init__(self) -> None:
        within("strategy.mixup.alpha", self.alpha, "(0, inf)")

    def mixer(self, task: Task) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        def mixed(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            return mix(images, targets, *draw(self.alpha, len(images), images.device))

        return mixed

    def describe(self) -> str:
        return f"alpha {self.alpha:g}"
