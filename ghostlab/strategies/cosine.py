"""Cosine schedule: the learning rate rises linearly, then follows half a cosine down.

Loshchilov and Hutter, "SGDR", https://arxiv.org/abs/1608.03983, equation 5, without restarts; the warm-up is that of
Goyal et al., https://arxiv.org/abs/1706.02677, section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostlab.strategies.base import LrFactor, Strategy, Task
from ghostlab.strategies.checks import within
from ghostlab.strategies.warmup import check_warmup, warmup_ramp, warmup_steps

__all__ = ["Cosine", "cosine_factor"]


def cosine_factor(
    step: int, total: int, warmup: int = 0, min_factor: float = 0.0, warmup_factor: float = 0.01
) -> float:
    """The factor of the learning rate after ``step`` of ``total`` optimizer steps.

    Linear from ``warmup_factor`` at 0 to 1 at ``warmup``, then half a cosine to ``min_factor``, which is reached at
    ``total`` and kept.
    """
    if step >= total:
        return min_factor
    if step < warmup:
        return warmup_ramp(step, warmup, warmup_factor)
    progress = (step - warmup) / (total - warmup)
    return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * progress)) / 2


@dataclass
class Cosine(Strategy):
    """Cosine schedule over the whole run, by optimizer steps, with warm-up."""

    name = "cosine"
    warmup_epochs: float = 1.0
    warmup_factor: float = 0.01
    min_factor: float = 0.0

    def __post_init__(self) -> None:
        check_warmup("strategy.cosine", self.warmup_epochs, self.warmup_factor)
        within("strategy.cosine.min_factor", self.min_factor, "[0, 1]")

    def lr_factor(self, task: Task) -> LrFactor:
        warmup = warmup_steps("strategy.cosine", self.warmup_epochs, task)
        return lambda step: cosine_factor(step, task.total_steps, warmup, self.min_factor, self.warmup_factor)

    def describe(self) -> str:
        return f"down to {self.min_factor:g} of the learning rate, warm-up epochs: {self.warmup_epochs:g}"
