"""Knowledge distillation: the student also learns the answers of a larger, trained teacher.

Hinton et al., "Distilling the Knowledge in a Neural Network", https://arxiv.org/abs/1503.02531. The plain functions are
``soft`` and ``open_teacher`` of ``ghostlab.distill``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostlab.distill import open_teacher, soft, teacher_name
from ghostlab.strategies.base import Services, Step, Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["KnowledgeDistillation", "answers"]


@torch.no_grad()
def answers(teacher: nn.Module, images: Tensor) -> Tensor:
    """The teacher's logits (B, classes) for images (B, C, H, W), to which it is moved; under autocast in its type."""
    first = next(teacher.parameters())
    if (first.device, first.dtype) != (images.device, images.dtype):
        teacher.to(images.device, images.dtype)
    return teacher(images)


@dataclass
class KnowledgeDistillation(Strategy):
    """``(1 - alpha) * CE + alpha * tau^2 * KL(teacher || student)``; the teacher sees the images that the student sees.

    ``teacher`` is the name of a timm model, a checkpoint (outside of a run folder with ``teacher_model``, the name of
    its architecture) or a run folder; without one the data set's default teacher is used. The teacher is no part of
    any module, so it is never trained, averaged, counted or saved.
    """

    name = "kd"
    alpha: float = 0.5
    tau: float = 1.0
    teacher: str | None = None
    teacher_model: str | None = None

    def __post_init__(self) -> None:
        within("strategy.kd.alpha", self.alpha, "[0, 1]")
        within("strategy.kd.tau", self.tau, "(0, inf)")
        self._opened: nn.Module | None = None
        self._known_as = ""

    def prepare(self, model: nn.Module, task: Task, services: Services) -> None:
        """Open the teacher and measure its accuracy, which ``describe`` then tells."""
        source = self.teacher or services.default_teacher()
        self._opened = open_teacher(source, task.num_classes, self.teacher_model)
        top1 = services.evaluate(self._opened)
        self._known_as = f"; teacher {teacher_name(source, self.teacher_model)}: top-1 {top1:.1f}"

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        if self._opened is None:
            raise RuntimeError("prepare() opens the teacher and comes first")
        return {"kd": soft(step.logits, answers(self._opened, step.images), self.tau)}

    def loss_weights(self) -> dict[str, float]:
        return {"ce": 1 - self.alpha, "kd": self.alpha}

    def describe(self) -> str:
        return f"soft, alpha {self.alpha:g}, tau {self.tau:g}{self._known_as}"
