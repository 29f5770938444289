"""What a strategy may change in a run: each method is an extension point with a no-op default."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Callback
from torch import Tensor, nn

from ghostlab.distill.teachers import TeacherSource

__all__ = [
    "Drawn",
    "LrFactor",
    "MainLoss",
    "Services",
    "Stage",
    "Step",
    "Strategy",
    "Task",
    "TrainingImages",
    "Transform",
]

Transform = Callable[[Any], Any]
LrFactor = Callable[[int], float]
"""Maps the number of optimizer steps taken so far to the factor of the base learning rate."""
MainLoss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (B, classes) in float32 and the targets of ``Step`` to a scalar."""


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
    strengths: Mapping[str, float] = field(default_factory=dict)
    """What may be scheduled, with the values that the run was given: ``model.drop_rate``, ``model.drop_path_rate``, and
    the ``staged`` knobs of the joined strategies, such as ``mixup.alpha``."""

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Stage:
    """A part of a run, from the epoch ``start`` (counted from 0) to the next one's.

    Training images have ``image_size`` pixels a side; ``strengths`` are the values, in this part, of those in ``Task``.
    """

    start: int
    image_size: int
    strengths: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One training step, after the forward pass of the student.

    ``images`` (B, 3, H, W) and ``logits`` (B, classes) are what the student saw and answered; ``targets`` are class
    indices (B,) or, once mixed or smoothed, probabilities (B, classes). ``known`` is what strategies looked up for the
    batch.
    """

    images: Tensor
    targets: Tensor
    logits: Tensor
    known: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Training images (B, 3, H, W) as a student gets them, on its device, with their positions in the data set and
    their seeds, both int64 (B,). ``epoch`` counts from 0. ``done`` is the number of images drawn in this epoch so far,
    those that could not be read included."""

    epoch: int
    done: int
    images: Tensor
    index: NDArray[np.int64]
    seeds: NDArray[np.int64]


class TrainingImages(Protocol):
    """The training images of a run, augmented and mixed, to be drawn beforehand and again in training."""

    @property
    def size(self) -> int:
        """The number of images in an epoch."""

    def identity(self) -> dict[str, Any]:
        """All that the images of a seed and an epoch depend on, as plain values."""

    def draw(self, seed: int, start: int, stop: int) -> Iterator[Drawn]:
        """The images ``start`` to ``stop``, counted over all epochs, in the order in which they are best drawn."""

    def replay(self, seed: int, seeds: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]) -> None:
        """Let training draw what ``draw(seed, ...)`` drew: ``seeds`` gives those of an epoch's images (B,)."""


class Services(Protocol):
    """What the trainer offers to strategies that need work done before the run starts."""

    @property
    def outputs(self) -> Path:
        """Where run folders are kept."""

    @property
    def images(self) -> TrainingImages:
        """The training images of this run."""

    def default_teacher(self) -> Path:
        """The run folder of the data set's default teacher, trained now if it is not there yet."""

    def teachers(self, sources: Sequence[str | Path], architectures: Sequence[str | None]) -> Sequence[TeacherSource]:
        """Teachers by run folders, checkpoints and names of timm's, with as many architectures for those that do not
        say their own."""

    def evaluate(self, model: nn.Module) -> float:
        """Top-1 accuracy in percent on the validation set; the model is left in evaluation mode."""

    def precision(self) -> AbstractContextManager[Any]:
        """Within it a forward pass has the precision of the run."""

    def learn_from(self, key: str, source: str | Path) -> None:
        """Note the network that the run learns from; ``UsageError`` naming ``key`` where that knows its validation
        images and may not."""

    def say(self, line: str) -> None:
        """Print one line of the run's header."""


class Strategy:
    """Base class: subclasses are dataclasses whose fields are the knobs of ``conf/strategy/<name>.yaml``.

    ``__post_init__`` checks the knobs and raises ``UsageError`` naming the key (``strategy.kd.alpha``), its value and
    what is allowed. Strategies never know each other: the trainer calls them in the order of the registry.
    """

    name: ClassVar[str]
    stage: ClassVar[str] = "loss"
    """Of a strategy from outside: after which of this package's it is applied, those that change the ``model``, the
    ``images``, the ``targets``, the ``loss``, the ``schedule`` or the ``weights``."""
    slot: ClassVar[str | None] = None
    """Of a strategy from outside: two with the same slot exclude each other; here it is in the registry."""
    staged: ClassVar[tuple[str, ...]] = ()
    """Knobs that may change in the course of a run: strengths of what is done to the training images."""

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise ``UsageError`` where the rest of a run's configuration, plain values by group, gives what a knob gives
        otherwise: no strategy takes the place of a value that was given."""

    def plan(self, task: Task) -> Sequence[Stage]:
        """The stages of the run, the first from epoch 0; at most one joined strategy gives them."""
        return ()

    def strengths(self) -> dict[str, float]:
        """The ``staged`` knobs, named as in ``Task.strengths``."""
        return {f"{self.name}.{knob}": getattr(self, knob) for knob in self.staged}

    def at(self, strengths: Mapping[str, float]) -> Self | None:
        """This strategy at the given strengths, for its transforms and its mixer; None where one of them is 0."""
        changed = {knob: strengths[key] for knob in self.staged if (key := f"{self.name}.{knob}") in strengths}
        if 0 in changed.values():
            return None
        return replace(self, **changed) if changed else self  # type: ignore[type-var]

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

    def companion(self) -> nn.Module | None:
        """A module that is trained beside the model and is no part of it: not counted, averaged or deployed."""
        return None

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        """What is known beforehand of the training images at the positions ``index`` (B,), on the CPU, in an epoch
        (from 0); it travels to the device with the batch and comes back as ``step.known``."""
        return {}

    def main_loss(self) -> MainLoss | None:
        """The loss in the place of cross-entropy, called by the strategy's name; at most one strategy gives it."""
        return None

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        """Named scalar loss terms, unweighted, added to the main loss."""
        return {}

    def loss_weights(self) -> dict[str, float]:
        """Factors of loss terms; ``ce`` is the main loss, whatever it is. Those of several strategies multiply."""
        return {}

    def lr_factor(self, task: Task) -> LrFactor | None:
        """The learning-rate schedule; at most one joined strategy gives one."""
        return None

    def callbacks(self) -> list[Callback]:
        """Lightning callbacks of this strategy."""
        return []

    def sources(self) -> list[str | Path]:
        """The runs, files and models that it will learn from: a sweep looks whether they are there before it begins."""
        return []

    def figures(self) -> dict[str, Any]:
        """What this strategy adds to ``result.json``, as plain values."""
        return {}

    def remark(self, result: Mapping[str, Any]) -> str:
        """What the user should know about a finished run with these figures, in one line; empty for nothing."""
        return ""

    def describe(self) -> str:
        """What it does with its present settings, in a few words for the run's header."""
        return ""
