"""Where distillation has a teacher's answers from: the teacher itself, or a cache of what it answered before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ghostlab.distill import AnswerCache, Choice, Preprocessing, answers
from ghostlab.strategies.base import Services, Step, Task

__all__ = ["Answers", "CachedAnswers", "LiveAnswers", "given", "live_answers"]


class Answers(Protocol):
    """A teacher's answers to the images of a step."""

    introduction: str
    """The teacher's name and top-1."""
    top1: float

    def figures(self) -> dict[str, Any]:
        """What they add to ``result.json``."""

    def logits(self, step: Step) -> Tensor:
        """The answers (B, classes)."""

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        """As ``Strategy.lookup``."""


@dataclass
class LiveAnswers:
    """Asks the teacher at every step."""

    teacher: nn.Module
    introduction: str
    top1: float

    def figures(self) -> dict[str, Any]:
        return {}

    def logits(self, step: Step) -> Tensor:
        return answers(self.teacher, step.images)

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        return {}


@dataclass
class CachedAnswers:
    """Reads what the teacher answered when the cache was built; the teacher itself is not needed any more."""

    cache: AnswerCache
    introduction: str
    top1: float
    seconds: float | None = None
    """What asking for the answers that the run uses took, whichever run did it; None: not known."""

    def figures(self) -> dict[str, Any]:
        """As ``Answers.figures``."""
        return {"cache_seconds": self.seconds, "cache_folder": str(self.cache.folder)}

    def logits(self, step: Step) -> Tensor:
        return self.cache.logits(step.known)

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        return self.cache.lookup(epoch, index)


def live_answers(choice: Choice, task: Task, services: Services, compiled: bool) -> LiveAnswers:
    """Opens the teachers and measures them."""
    teachers = choice.open(task.num_classes, given(task))
    introduction, top1 = choice.introduce(teachers, services.evaluate)
    together = choice.together(teachers)
    if compiled:
        together.compile()
    return LiveAnswers(together, introduction, top1)


def given(task: Task) -> Preprocessing:
    """How the student's images are prepared, which its teachers are given."""
    return Preprocessing(task.mean, task.std, (task.image_size,))
