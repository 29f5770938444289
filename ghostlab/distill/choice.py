"""Which teachers a student has: one or several, each with its own view of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ghostlab.distill.teachers import open_teacher, teacher_identity, teacher_name, teacher_preprocessing
from ghostlab.distill.views import Committee, Preprocessing, Teacher
from ghostlab.errors import UsageError
from ghostlab.models.runs import find_run

__all__ = ["Choice"]


@dataclass(frozen=True)
class Choice:
    """Teachers by their sources (see ``open_teacher``), with as many architectures (or None) and weights.

    ``size`` in pixels, ``mean`` and ``std`` per colour, where given, are what all of them see in place of what their
    run or timm says; a checkpoint that says nothing sees the student's images as they are.
    """

    sources: Sequence[str | Path]
    architectures: Sequence[str | None]
    weights: Sequence[float]
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        needed = [find_run(source) is None and Path(source).is_file() for source in self.sources]
        shared = len({*self.architectures}) == 1  # one name for all: those that need one take it
        for source, model, needs in zip(self.sources, self.architectures, needed, strict=True):
            if model is not None and not needs and not (shared and any(needed)):
                raise UsageError(
                    f"strategy.kd.teacher_model={model}: has no effect, as strategy.kd.teacher={source} says what it is"
                )

    @property
    def names(self) -> list[str]:
        """How each teacher is called."""
        return [teacher_name(*pair) for pair in zip(self.sources, self.architectures, strict=True)]

    def identity(self, given: Preprocessing) -> list[dict[str, Any]]:
        """What the answers to images prepared as ``given`` depend on besides the images, as plain values."""
        each = zip(self.sources, self.architectures, self.weights, strict=True)
        return [
            {**teacher_identity(source, model), **vars(self._view(source, given)), "weight": weight}
            for source, model, weight in each
        ]

    def open(self, num_classes: int, given: Preprocessing) -> list[Teacher]:
        """Every teacher, opened for images that are prepared as ``given``; raises what ``open_teacher`` does."""
        pairs = zip(self.sources, self.architectures, strict=True)
        return [Teacher(open_teacher(s, num_classes, model), given, self._view(s, given)) for s, model in pairs]

    def together(self, teachers: Sequence[Teacher]) -> nn.Module:
        """One module that answers for all."""
        return teachers[0] if len(teachers) == 1 else Committee(teachers, self.weights)

    def introduce(self, teachers: Sequence[Teacher], evaluate: Callable[[nn.Module], float]) -> tuple[str, float]:
        """Names with the top-1 in percent of each, as measured by ``evaluate``, and the top-1 of all together."""
        scores = [evaluate(teacher) for teacher in teachers]
        each = [f"{name}: top-1 {score:.1f}" for name, score in zip(self.names, scores, strict=True)]
        if len(teachers) == 1:
            return f"teacher {each[0]}", scores[0]
        together = evaluate(self.together(teachers))
        return f"teachers {', '.join(each)}; together {together:.1f}", together

    def _view(self, source: str | Path, given: Preprocessing) -> Preprocessing:
        own = teacher_preprocessing(source) or Preprocessing(given.mean, given.std)
        return Preprocessing(self.mean or own.mean, self.std or own.std, (self.size,) if self.size else own.sizes)
