"""Step schedule: the learning rate is multiplied by a constant every few epochs, as EfficientNet and GhostNetV2 do.

Tan and Le, "EfficientNet", https://arxiv.org/abs/1905.11946, section 5.2: 0.97 every 2.4 epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostlab.strategies.base import LrFactor, Strategy, Task
from ghostlab.strategies.checks import within
from ghostlab.strategies.warmup import check_warmup, warmup_ramp, warmup_steps

__all__ = ["StepDecay", "step_factor"]


def step_factor(step: int, interval: float, gamma: float, warmup: int = 0, warmup_factor: float = 0.01) -> float:
    """The factor of the learning rate after ``step`` optimizer steps: ``gamma ** floor(step / interval)``.

    A staircase, whose ``interval`` (in steps, may be a fraction) is counted from the start of training. Before step
    ``warmup`` the factor is instead linear from ``warmup_factor`` towards 1, without decay, as in EfficientNet's code
    (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet).
    """
    if step < warmup:
        return warmup_ramp(step, warmup, warmup_factor)
    # An interval such as 1.1 * 50 = 55.00000000000001 must not lose its last step.
    return gamma ** math.floor(step / interval + 1e-9)


@dataclass
class StepDecay(Strategy):
    """Multiplies the learning rate by ``gamma`` every ``epochs`` epochs, after a warm-up."""

    name = "step"
    epochs: float = 2.4
    gamma: float = 0.97
    warmup_epochs: float = 1.0
    warmup_factor: float = 0.01

    def __post_init__(self) -> None:
        within("strategy.step.epochs", self.epochs, "(0, inf)")
        within("strategy.step.gamma", self.gamma, "(0, 1]")
        check_warmup("strategy.step", self.warmup_epochs, self.warmup_factor)

    def lr_factor(self, task: Task) -> LrFactor:
        warmup = warmup_steps("strategy.step", self.warmup_epochs, task)
        interval = self.epochs * task.steps_per_epoch
        return lambda step: step_factor(step, interval, self.gamma, warmup, self.warmup_factor)

    def describe(self) -> str:
        return f"x{self.gamma:g} every {self.epochs:g} epochs, warm-up epochs: {self.warmup_epochs:g}"
