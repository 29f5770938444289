"""Label smoothing: some of the probability of the target class is spread over all classes.

Szegedy et al., "Rethinking the Inception Architecture", https://arxiv.org/abs/1512.00567, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["Smoothing", "smooth"]


def smooth(targets: Tensor, num_classes: int, amount: float) -> Tensor:
    """``(1 - amount) * p + amount / num_classes`` for every class: probabilities (B, num_classes), float32 for indices.

    ``targets`` are class indices (B,) or probabilities p (B, num_classes), whose type is kept.
    """
    spread = amount / num_classes
    if targets.ndim == 2:
        return targets * (1 - amount) + spread
    probabilities = torch.full((len(targets), num_classes), spread, device=targets.device)
    return probabilities.scatter_(1, targets[:, None], 1 - amount + spread)


@dataclass
class Smoothing(Strategy):
    """Label smoothing of the training targets, before they are mixed."""

    name = "smoothing"
    amount: float = 0.1

    def __post_init__(self) -> None:
        within("strategy.smoothing.amount", self.amount, "(0, 1)")

    def change_targets(self, targets: Tensor, task: Task) -> Tensor:
        return smooth(targets, task.num_classes, self.amount)

    def describe(self) -> str:
        return f"amount {self.amount:g}"
