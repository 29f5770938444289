"""Exponential schedule: the learning rate decays smoothly, at every step by the same factor.

The smooth form of the staircase of EfficientNet (Tan and Le, https://arxiv.org/abs/1905.11946, section 5.2), as
``tf.train.exponential_decay`` with ``staircase=False``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostlab.strategies.base import LrFactor, Strategy, Task
from ghostlab.strategies.checks import within
from ghostlab.strategies.warmup import check_warmup, warmup_ramp, warmup_steps

__all__ = ["Exponential", "exponential_factor"]


def exponential_factor(step: int, interval: float, gamma: float, warmup: int = 0, warmup_factor: float = 0.01) -> float:
    """The factor of the learning rate after ``step`` optimizer steps: ``gamma ** (step / interval)``.

    ``interval`` (in steps, may be a fraction) is counted from the start of training. Before step ``warmup`` the factor
    is instead linear from ``warmup_factor`` towards 1, without decay, as in ``step_factor``.
    """
    return warmup_ramp(step, warmup, warmup_factor) if step < warmup else gamma ** (step / interval)


@dataclass
class Exponential(Strategy):
    """Lets the learning rate decay by ``gamma`` over ``epochs`` epochs, a little at every step, after a warm-up."""

    name = "exponential"
    epochs: float = 2.4
    gamma: float = 0.97
    warmup_epochs: float = 1.0
    warmup_factor: float = 0.01

    def __post_init__(self) -> None:
        within("strategy.exponential.epochs", self.epochs, "(0, inf)")
        within("strategy.exponential.gamma", self.gamma, "(0, 1]")
        check_warmup("strategy.exponential", self.warmup_epochs, self.warmup_factor)

    def lr_factor(self, task: Task) -> LrFactor:
        warmup = warmup_steps("strategy.exponential", self.warmup_epochs, task)
        interval = self.epochs * task.steps_per_epoch
        return lambda step: exponential_factor(step, interval, self.gamma, warmup, self.warmup_factor)

    def describe(self) -> str:
        return f"x{self.gamma:g} in {self.epochs:g} epochs, smoothly, warm-up epochs: {self.warmup_epochs:g}"
