"""What strategies may ask of the trainer before a run starts: a teacher, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from torch import nn

from ghostlab.data import DataModule
from ghostlab.data.samples import preserve_random_state
from ghostlab.distill import TeacherSource
from ghostlab.errors import UsageError
from ghostlab.runs.compose import compose
from ghostlab.runs.identity import named_overrides
from ghostlab.runs.settings import Settings, parse
from ghostlab.terminal import say
from ghostlab.training.images import RunImages
from ghostlab.training.leak import Images
from ghostlab.training.scores import evaluate
from ghostlab.training.teachers import teacher_sources

__all__ = ["RunServices", "default_teacher"]


STUDENTS = ("data", "outputs")
"""What a default teacher has of its student; only its batches may have another size."""


@dataclass(frozen=True)
class RunServices:
    """Implements ``ghostlab.strategies.base.Services`` for one run."""

    settings: Settings
    data: DataModule
    images: RunImages
    known: Images
    trainer: Trainer
    train: Callable[..., dict[str, Any]]

    @property
    def outputs(self) -> Path:
        return self.settings.outputs

    def default_teacher(self) -> Path:
        teacher = default_teacher(self.settings)
        say(f"teacher   {teacher.model['name']} for {teacher.data.name}, trained once and kept in {teacher.folder}")
        with preserve_random_state():  # a teacher that is there already draws nothing
            self.train(teacher, as_teacher=True)
        return teacher.folder

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


def default_teacher(student: Settings) -> Settings:
    """The run that trains the data set's default teacher: ``data.teacher`` on the student's images, seed 0."""
    data = student.config["data"]
    teacher = data["teacher"]
    if teacher is None:
        raise UsageError(f"strategy.kd.teacher=null: data '{data['name']}' has no default teacher; name one")
    for override in teacher["overrides"]:
        if (key := override.lstrip("+").partition("=")[0]) != "data.batch_size" and key.startswith(STUDENTS):
            raise UsageError(
                f"data.teacher.overrides: {override} has no effect: the student's {key} is the teacher's, too"
            )
    cfg = compose([*named_overrides("data", data["name"]), f"model={teacher['model']}", *teacher["overrides"]])
    cfg.data = {**data, "batch_size": cfg.data.batch_size}
    cfg.outputs = str(student.outputs / "teachers")
    return parse(cfg)
