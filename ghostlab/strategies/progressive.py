"""Progressive learning: small images with weak regularisation first, large ones with strong regularisation last.

Tan and Le, "EfficientNetV2", https://arxiv.org/abs/2104.00298, section 4.2 and algorithm 1; the authors' code
(https://github.com/google/automl/tree/master/efficientnetv2, ``main.py``) does it in another way, which is here, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.strategies.base import Services, Stage, Strategy, Task
from ghostlab.strategies.checks import at_least_one, one_of, require, within

__all__ = ["Progressive", "evenly", "one_step_ahead", "stage_sizes", "stage_starts"]

SMALLEST = 16
"""Pixels that a GhostNet needs."""
FIRST_SIZE = 128 / 300
"""The first size as a share of the last one, as in EfficientNetV2-S."""
FIRST_DROPOUT = 1 / 3
"""The first dropout as a share of the last one, as in EfficientNetV2-S."""

STRENGTHS = {
    "magnitude": ("randaugment.magnitude", "[0, 30]"),
    "mixup": ("mixup.alpha", "[0, inf)"),
    "cutmix": ("cutmix.alpha", "[0, inf)"),
    "dropout": ("model.drop_rate", "[0, 1)"),
    "droppath": ("model.drop_path_rate", "[0, 1)"),
}
"""For each knob: what it schedules, by its name in ``Task.strengths``, and what is allowed."""


def evenly(first: float, last: float, stages: int) -> list[float]:
    """``first + (last - first) * i / (stages - 1)`` for stage i (algorithm 1 of the paper); of one stage, ``last``."""
    return [last if i == stages - 1 else first + (last - first) * i / (stages - 1) for i in range(stages)]


def one_step_ahead(first: float, last: float, stages: int) -> list[float]:
    """``first + (last - first) * (i + 1) / stages``: how sizes grow in the authors' code, from above ``first``."""
    return [first + (last - first) * (i + 1) / stages for i in range(stages)]


def stage_sizes(schedule: str, first: int, last: int, stages: int, multiple: int = 1) -> list[int]:
    """Pixels a side in each stage, cut off to whole numbers and rounded to a ``multiple``; in the last one ``last``."""
    grow = {"paper": evenly, "automl": one_step_ahead}[schedule]
    sizes = [max(multiple, round(int(size) / multiple) * multiple) for size in grow(first, last, stages)]
    return [*sizes[:-1], last]


def stage_starts(epochs: int, stages: int) -> list[int]:
    """The epoch, from 0, with which each stage begins: equal parts of the run, rounded to whole epochs."""
    return [round(i * epochs / stages) for i in range(stages)]


@dataclass
class Progressive(Strategy):
    """Trains in stages: the size of the images and the strength of what regularises grow from one to the next.

    The last stage has the run's own values: ``data.image_size``, and the strengths of the joined strategies and the
    model. A knob is the value of the first stage, or a list with the value of every stage. What is not joined, or is 0
    in the model, is not scheduled; a strategy whose strength is 0 in a stage is left out of it.
    """

    name = "progressive"
    schedule: str = "paper"
    stages: int = 4
    epochs: list[int] | None = None
    size: Any = None
    round_to: int = 1
    magnitude: Any = 5.0
    mixup: Any = 0.0
    cutmix: Any = 0.0
    dropout: Any = None
    droppath: Any = None

    def __post_init__(self) -> None:
        one_of("strategy.progressive.schedule", self.schedule, ("paper", "automl"))
        at_least_one("strategy.progressive.stages", self.stages)
        at_least_one("strategy.progressive.round_to", self.round_to)
        for knob, (_, allowed) in STRENGTHS.items():
            for value in self._listed(knob):
                within(f"strategy.progressive.{knob}", value, allowed)
        for knob in ("size", "epochs"):
            for value in self._listed(knob):
                at_least_one(f"strategy.progressive.{knob}", value)
        self._planned: Sequence[Stage] = ()

    def plan(self, task: Task) -> Sequence[Stage]:
        """The stages of a run; raises ``UsageError`` for more stages than epochs and for sizes that do not fit."""
        starts, sizes = self._starts(task.epochs), self._sizes(task.image_size)
        strengths = {
            key: self._values(knob, key, task.strengths[key])
            for knob, (key, _) in STRENGTHS.items()
            if key in task.strengths
        }
        self._planned = [
            Stage(start, size, {key: values[i] for key, values in strengths.items()})
            for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
        ]
        return self._planned

    def describe(self) -> str:
        if not self._planned:
            return f"{self.stages} stages ({self.schedule})"
        first, last = self._planned[0].strengths, self._planned[-1].strengths
        begins = "/".join(str(stage.start + 1) for stage in self._planned)
        sizes = "/".join(str(stage.image_size) for stage in self._planned)
        grown = "".join(f", {key} {first[key]:.3g} to {last[key]:.3g}" for key in first if first[key] != last[key])
        return f"{self.stages} stages ({self.schedule}) of {sizes} px from epochs {begins}{grown}"

    def prepare(self, model: nn.Module, task: Task, services: Services) -> None:
        """Show the model an image of every size but the last; ``UsageError`` names one that it cannot take."""
        training = model.training
        for size in dict.fromkeys(stage.image_size for stage in self._planned[:-1]):
            try:
                with torch.no_grad():
                    model.eval()(torch.zeros(1, len(task.mean), size, size))
            except (RuntimeError, ValueError, AssertionError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise UsageError(
                    f"strategy.progressive.size={self.size}: the model cannot take images of {size} px ({reason});"
                    " name a larger size, or sizes that it can take as a list"
                ) from error
            finally:
                model.train(training)

    def _listed(self, knob: str) -> list[Any]:
        """The values that a knob names, and as many as there are stages if it is a list."""
        value = getattr(self, knob)
        if not isinstance(value, list):
            return [] if value is None else [value]
        allowed = f"must have one value for each of {self.stages} stages"
        require(len(value) == self.stages, f"strategy.progressive.{knob}", value, allowed)
        return value

    def _starts(self, epochs: int) -> list[int]:
        if self.epochs is not None:
            allowed = f"must add up to trainer.max_epochs={epochs}"
            require(sum(self.epochs) == epochs, "strategy.progressive.epochs", self.epochs, allowed)
            return [0, *accumulate(self.epochs[:-1])]
        allowed = f"must not be above trainer.max_epochs={epochs}"
        require(self.stages <= epochs, "strategy.progressive.stages", self.stages, allowed)
        return stage_starts(epochs, self.stages)

    def _sizes(self, last: int) -> list[int]:
        key, rounding, whole = "strategy.progressive.size", "strategy.progressive.round_to", f"data.image_size={last}"
        if isinstance(self.size, list):
            require(self.size[-1] == last, key, self.size, f"the last one must be {whole}")
            require(self.round_to == 1, rounding, self.round_to, f"has no effect on a list, {key}={self.size}")
            return self.size
        first = self.size or min(last, max(SMALLEST, int(last * FIRST_SIZE)))
        require(first <= last, key, self.size, f"must not be above {whole}")
        sizes = stage_sizes(self.schedule, first, last, self.stages, self.round_to)
        require(max(sizes) <= last, rounding, self.round_to, f"makes sizes above {whole}")
        return sizes

    def _values(self, knob: str, key: str, last: float) -> list[float]:
        first = getattr(self, knob)
        if isinstance(first, list):
            full = key if key.startswith("model.") else f"strategy.{key}"
            same = math.isclose(first[-1], last, abs_tol=1e-9)
            require(same, f"strategy.progressive.{knob}", first, f"the last one must be {full}={last:g}")
            return [float(value) for value in first]
        if first is None:
            shrinks = knob == "dropout" and self.schedule == "paper"
            first = last * FIRST_DROPOUT if shrinks else last
        return evenly(float(first), last, self.stages)
