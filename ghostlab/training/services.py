"""What strategies may ask of the trainer before a run starts: a teacher, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import nn

from ghostlab.data import DataModule
from ghostlab.data.samples import random_state_kept
from ghostlab.distill import TeacherSource
from ghostlab.errors import UsageError
from ghostlab.runs.compose import compose
from ghostlab.runs.identity import named_overrides, plain, run_folder
from ghostlab.terminal import say
from ghostlab.training.images import RunImages
from ghostlab.training.leak import Images
from ghostlab.training.scores import evaluate
from ghostlab.training.teachers import teacher_sources

__all__ = ["RunServices"]


STUDENTS = ("data", "outputs")
"""What a default teacher has of its student; only its batches may have another size."""


@dataclass(frozen=True)
class RunServices:
    """Implements ``ghostlab.strategies.base.Services`` for one run."""

    cfg: DictConfig
    data: DataModule
    images: RunImages
    known: Images
    trainer: Trainer
    train: Callable[..., dict[str, Any]]

    @property
    def outputs(self) -> Path:
        return Path(self.cfg.outputs)

    def default_teacher(self) -> Path:
        cfg = teacher_config(self.cfg)
        say(f"teacher   {cfg.model.name} for {cfg.data.name}, trained once and kept in {run_folder(cfg)}")
        with random_state_kept():  # a teacher that is there already draws nothing
            self.train(cfg, as_teacher=True)
        return run_folder(cfg)

    def teachers(self, sources: Sequence[str | Path], architectures: Sequence[str | None]) -> Sequence[TeacherSource]:
        return teacher_sources(sources, architectures)

    def evaluate(self, model: nn.Module) -> float:
        device = self.trainer.strategy.root_device
        with self.precision():
            return evaluate(model, self.data.val_dataloader(), self.data.num_classes, device)["top1"]

    def precision(self) -> AbstractContextManager[Any]:
        return self.trainer.precision_plugin.forward_context()

    def learn_from(self, key: str, source: str | Path) -> None:
        self.known.check_classes(key, source)
        self.known.learn_from(key, source)

    def say(self, line: str) -> None:
        say(line)


def teacher_config(cfg: DictConfig) -> DictConfig:
    """The run that trains the data set's default teacher: ``data.teacher`` on the student's images, seed 0."""
    teacher = cfg.data.teacher
    if teacher is None:
        raise UsageError(f"strategy.kd.teacher=null: data '{cfg.data.name}' has no default teacher; name one")
    for override in teacher.overrides:
        if (key := override.lstrip("+").partition("=")[0]) != "data.batch_size" and key.startswith(STUDENTS):
            raise UsageError(
                f"data.teacher.overrides: {override} has no effect: the student's {key} is the teacher's, too"
            )
    overrides = [*named_overrides("data", str(cfg.data.name)), f"model={teacher.model}", *teacher.overrides]
    composed = compose(overrides)
    batch_size = composed.data.batch_size
    composed.data = {**plain(cfg.data), "batch_size": batch_size}
    composed.outputs = str(Path(cfg.outputs) / "teachers")
    return composed
