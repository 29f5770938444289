"""Which teachers a student has: one or several, each with its own view of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ghostlab.distill.views import Committee, Preprocessing, Teacher

__all__ = ["Choice", "TeacherSource"]


class TeacherSource(Protocol):
    """Where a teacher comes from; nothing is opened before ``open``."""

    @property
    def name(self) -> str:
        """How the teacher is called."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What it expects of its images, None where nothing says it."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on besides its images, as plain values."""

    def open(self, num_classes: int) -> nn.Module:
        """The network with ``num_classes`` outputs, in evaluation mode and without gradients."""


@dataclass(frozen=True)
class Choice:
    """Teachers by their sources, with as many weights.

    ``size`` in pixels, ``mean`` and ``std`` per colour, where given, are what all of them see in place of what their
    source says; one that says nothing sees the student's images as they are.
    """

    sources: Sequence[TeacherSource]
    weights: Sequence[float]
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def identity(self, given: Preprocessing) -> list[dict[str, Any]]:
        """What the answers to images prepared as ``given`` depend on besides the images, as plain values."""
        return [
            {**source.identity, **vars(self._view(source, given)), "weight": weight}
            for source, weight in zip(self.sources, self.weights, strict=True)
        ]

    def open(self, num_classes: int, given: Preprocessing) -> list[Teacher]:
        """Every teacher, opened for images that are prepared as ``given``; raises what ``TeacherSource.open`` does."""
        return [Teacher(source.open(num_classes), given, self._view(source, given)) for source in self.sources]

    def together(self, teachers: Sequence[Teacher]) -> nn.Module:
        """One module that answers for all."""
        return teachers[0] if len(teachers) == 1 else Committee(teachers, self.weights)

    def introduce(self, teachers: Sequence[Teacher], evaluate: Callable[[nn.Module], float]) -> tuple[str, float]:
        """Names with the top-1 in percent of each, as measured by ``evaluate``, and the top-1 of all together."""
        scores = [evaluate(teacher) for teacher in teachers]
        each = [f"{source.name}: top-1 {score:.1f}" for source, score in zip(self.sources, scores, strict=True)]
        if len(teachers) == 1:
            return f"teacher {each[0]}", scores[0]
        together = evaluate(self.together(teachers))
        return f"teachers {', '.join(each)}; together {together:.1f}", together

    def _view(self, source: TeacherSource, given: Preprocessing) -> Preprocessing:
        own = source.preprocessing or Preprocessing(given.mean, given.std)
        return Preprocessing(self.mean or own.mean, self.std or own.std, (self.size,) if self.size else own.sizes)
