"""Trainings that take turns: what an epoch of each took, in CPU seconds of one thread, or on a GPU in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import ClassVar, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from ghostlab.runs.compose import compose
from ghostlab.runs.settings import parse
from ghostlab.strategies.base import Strategy
from ghostlab.training.memory import PeakMemory
from ghostlab.training.run import train

__all__ = ["Clock", "Epoch", "now", "train_in_turns"]


class Epoch(NamedTuple):
    """What an epoch took: seconds of each image, and the most memory so far in MiB, NaN where it is not known."""

    seconds: float
    memory: float


class Clock(Callback):
    """Trains an epoch when it is its turn and says what that took; the first one warms up.

    Validation does not count. With ``whole`` does what comes after it, such as a checkpoint.
    """

    def __init__(self, pipe: Connection, batch_size: int, whole: bool = False) -> None:
        self.pipe, self.batch_size, self.whole = pipe, batch_size, whole
        self.warm = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.whole and trainer.current_epoch:
            self._say(trainer, pl_module)
        if trainer.current_epoch:
            self.pipe.recv()
        else:
            self.memory = PeakMemory(pl_module.device)
        self.seconds, self.began = 0.0, now(pl_module.device)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.whole:
            self.seconds += now(pl_module.device) - self.began
        else:
            self._say(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = now(pl_module.device)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.whole:
            self._say(trainer, pl_module)

    def _say(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = self.seconds + now(pl_module.device) - self.began
        images = int(trainer.num_training_batches) * self.batch_size
        self.pipe.send(Epoch(seconds / images, self.memory.mib() or math.nan) if self.warm else None)
        self.warm = True


@dataclass
class Clocked(Strategy):
    """Changes nothing; brings the clock into a run."""

    clock: Clock
    name: ClassVar[str] = "clock"

    def callbacks(self) -> list[Callback]:
        return [self.clock]


def now(device: torch.device) -> float:
    """CPU seconds of this process, or seconds once a GPU has done what it was told."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def train_in_turns(overrides: Sequence[str], whole: bool, pipe: Connection) -> None:
    """The work of a process: the run of ``train.py`` with ``overrides``, an epoch a turn."""
    torch.set_num_threads(1)
    settings = parse(compose(overrides))
    clock = Clocked(Clock(pipe, settings.data.batch_size, whole))
    with (settings.outputs / "log.txt").open("a", encoding="utf-8") as log, redirect_stdout(log):
        train(replace(settings, strategies=[*settings.strategies, clock]))
