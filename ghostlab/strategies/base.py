"""What a strategy may change in a run: each method is an extension point with a no-op default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pytorch_lightning import Callback
from torch import Tensor, nn

__all__ = ["LrFactor", "Services", "Step", "Strategy", "Task", "Transform"]

Transform = Callable[[Any], Any]
LrFactor = Callable[[int], float]
"""Maps the number of optimizer steps taken so far to the factor of the base learning rate."""


@dataclass(frozen=True)
class Task:
    """What a run trains on and for how long; known before the model is built."""

    num_classes: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epochs: int
    steps_per_epoch: int
    """Optimizer steps an epoch (after gradient accumulation)."""
    pretrained: bool = False
    """Whether the model begins with weights of an earlier training."""

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Step:
    """One training step, after the forward pass of the student.

    ``images`` (B, 3, H, W) and ``logits`` (B, classes) are what the student saw and answered; ``targets`` are class
    indices (B,) or, once mixed or smoothed, probabilities (B, classes).
    """

    images: Tensor
    targets: Tensor
    logits: Tensor


class Services(Protocol):
    """What the trainer offers to strategies that need work done before the run starts."""

    def default_teacher(self) -> Path:
        """The run folder of the data set's default teacher, trained now if it is not there yet."""

    def evaluate(self, model: nn.Module) -> float:
        """Top-1 accuracy in percent on the validation set; the model is left in evaluation mode."""

    def say(self, line: str) -> None:
        """Print one line of the run's header."""


class Strategy:
    """Base class: subclasses are dataclasses whose fields are the knobs of ``conf/strategy/<name>.yaml``.

    ``__post_init__`` checks the knobs and raises ``UsageError`` naming the key (``strategy.kd.alpha``), its value and
    what is allowed. Strategies never know each other: the trainer calls them in the order of the registry.
    """

    name: ClassVar[str]

    def model_options(self) -> dict[str, Any]:
        """Keyword arguments added to the construction of the model."""
        return {}

    def change_model(self, model: nn.Module, task: Task) -> nn.Module:
        """Change the model before the optimizer exists."""
        return model

    def prepare(self, model: nn.Module, task: Task, services: Services) -> None:
        """Do what must be done before the first step, such as getting a teacher. ``model`` is the finished student."""

    def image_transforms(self, task: Task) -> Sequence[Transform]:
        """Training transforms PIL image -> PIL image, after crop and flip."""
        return ()

    def tensor_transforms(self, task: Task) -> Sequence[Transform]:
        """Training transforms (3, H, W) -> (3, H, W), after normalisation."""
        return ()

    def change_targets(self, targets: Tensor, task: Task) -> Tensor:
        """Change the targets of a batch, on its device."""
        return targets

    def mixer(self, task: Task) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
        """A function that mixes (images, probabilities) of a batch; with several, one is drawn for each batch."""
        return None

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        """Named scalar loss terms, unweighted, added to ``ce``."""
        return {}

    def loss_weights(self) -> dict[str, float]:
        """Factors of loss terms, ``ce`` included; those of several strategies multiply."""
        return {}

    def lr_factor(self, task: Task) -> LrFactor | None:
        """The learning-rate schedule; at most one joined strategy gives one."""
        return None

    def callbacks(self) -> list[Callback]:
        """Lightning callbacks of this strategy."""
        return []

    def describe(self) -> str:
        """What it does with its present settings, in a few words for the run's header."""
        return ""
