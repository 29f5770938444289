"""What strategies may ask of the trainer before a run: its images, drawn beforehand and again in it, and a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import timm
import torch
import torchvision
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from torch import nn

from ghostlab.data import Batch, DataModule
from ghostlab.data.content import digest
from ghostlab.data.hashing import sample_seeds
from ghostlab.data.samples import preserve_random_state
from ghostlab.data.sampling import BatchKeys, Replay, fixed_batches
from ghostlab.distill import TeacherSource
from ghostlab.errors import UsageError
from ghostlab.runs.compose import compose
from ghostlab.runs.identity import named_overrides
from ghostlab.runs.settings import Settings, parse
from ghostlab.strategies.base import Drawn, Strategy, Task
from ghostlab.terminal import say
from ghostlab.training.image_checks import LeakCheck
from ghostlab.training.metrics import evaluate
from ghostlab.training.stages import Stages
from ghostlab.training.teachers import teacher_sources

__all__ = ["RunImages", "RunServices", "default_teacher"]

SHAPING = ("image_size", "crop", "crop_scale", "crop_padding", "interpolation", "flip", "mean", "std")
"""Fields of the data's configuration that change a training image."""

Plan = Iterator[tuple[int, int, NDArray[np.int64]]]


@dataclass(frozen=True)
class RunImages:
    """Implements ``ghostlab.strategies.base.TrainingImages`` for one run."""

    data: DataModule
    strategies: Sequence[Strategy]
    task: Task
    trainer: Trainer

    @property
    def size(self) -> int:
        return self.data.train_size

    def identity(self) -> dict[str, Any]:
        cfg = self.data.cfg
        shaping = {key: getattr(cfg, key) for key in SHAPING}
        return {
            "data": {"name": cfg.name, "images": self.size, "hash": digest(self.data.train_source)},
            "images": {key: list(value) if isinstance(value, tuple) else value for key, value in shaping.items()},
            "strategies": {s.name: asdict(s) for s in self.strategies if self._changes_images(s)},  # type: ignore[call-overload]
            "batches": {"size": cfg.batch_size, "devices": self.trainer.world_size} if self._stages.mixes else None,
            **({"stages": self._stages.identity()} if len(self._stages) > 1 else {}),
            "precision": self.trainer.precision,
            "versions": {"timm": timm.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__},
        }

    def draw(self, seed: int, start: int, stop: int) -> Iterator[Drawn]:
        device = self.trainer.strategy.root_device
        loader = self.data.listed_dataloader(lambda: self._keys(seed, start, stop))
        for (epoch, done, _), batch in zip(self._plan(seed, start, stop), loader, strict=True):
            images = batch.images
            if len(images):  # of a batch of unreadable ones there are none
                images, _ = self._stages.mixing(epoch)(*self._sent(batch, device), int(batch.seed[0]))
            yield Drawn(epoch, done, images, batch.index.numpy(), batch.seed.numpy())

    def replay(self, seed: int, seeds: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]) -> None:
        self.data.replay = Replay(seed, seeds, self.data.cfg.batch_size if self._stages.mixes else None)

    @cached_property
    def _stages(self) -> Stages:
        return Stages(self.strategies, self.task)

    def _changes_images(self, strategy: Strategy) -> bool:
        task = self.task
        return bool(strategy.image_transforms(task) or strategy.tensor_transforms(task) or strategy.mixer(task))

    def _plan(self, seed: int, start: int, stop: int) -> Plan:
        """Epoch, images of it that are done afterwards, and the images (B,), for every batch."""
        for epoch in range(start // self.size, -(-stop // self.size)):
            done = 0
            for batch in self._batches(seed, epoch):
                done += len(batch)
                if start < epoch * self.size + done <= stop:
                    yield epoch, done, batch

    def _batches(self, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        cfg = self.data.cfg
        if self._stages.mixes:
            return fixed_batches(self.size, cfg.batch_size, seed, epoch, self.trainer.world_size)
        return np.split(np.arange(self.size), range(cfg.batch_size, self.size, cfg.batch_size))

    def _keys(self, seed: int, start: int, stop: int) -> Iterator[BatchKeys]:
        for epoch, _, batch in self._plan(seed, start, stop):
            seeds, view = sample_seeds(batch, seed, epoch).tolist(), self._stages.number(epoch)
            yield [(index, drawn, view) for index, drawn in zip(batch.tolist(), seeds, strict=True)]

    def _sent(self, batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets = batch.images.to(device, non_blocking=True), batch.targets.to(device, non_blocking=True)
        return self.trainer.precision_plugin.convert_input(images), targets


STUDENTS = ("data", "outputs")
"""What a default teacher has of its student; only its batches may have another size."""


@dataclass(frozen=True)
class RunServices:
    """Implements ``ghostlab.strategies.base.Services`` for one run."""

    settings: Settings
    data: DataModule
    images: RunImages
    known: LeakCheck
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
