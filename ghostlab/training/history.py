"""One row an epoch: ``metrics.csv``, the lines a run prints, and the time it has taken over all its sittings."""

from __future__ import annotations

import csv
import io
import time
from copy import copy
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from torch.optim import Optimizer

from ghostlab.files import write_text
from ghostlab.training.classifier import as_classifier
from ghostlab.training.machine import device_name
from ghostlab.training.memory import PeakMemory
from ghostlab.training.reductions import most, reduced

__all__ = ["History"]

KEPT = ("rows", "seconds", "peak_memory_mb", "devices", "skipped")
"""What a checkpoint keeps."""


class History(Callback):
    """Keeps a row of figures for every finished epoch and writes them to ``metrics.csv``.

    The rows are part of the checkpoint, so that a resumed run's file has each epoch once. All figures are those of the
    whole run, over its processes and sittings: see ``reductions``.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.peak_memory_mb: float | None = 0.0
        self.devices: list[str] = []
        self.skipped: list[str] = []
        self._memory: PeakMemory | None = None
        self._peak_before: float | None = 0.0
        self._since = time.perf_counter()
        self._epoch_start = 0.0
        self._images = 0
        self._images_per_second = 0.0
        self._lr = 0.0

    @property
    def images_per_second(self) -> float:
        """Images that this process has trained on per second in the present epoch; waiting for data counts, validation
        does not."""
        seconds = time.perf_counter() - self._epoch_start
        return self._images / seconds if seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = reduced({"device": device_name(pl_module.device)})["device"]
        self.devices += [device] if device not in self.devices else []
        self._peak_before, self._memory = self.peak_memory_mb, PeakMemory(pl_module.device)
        self._since = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.images)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._lr = optimizer.param_groups[0]["lr"]  # the schedule has gone on when the epoch ends

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images_per_second = self.images_per_second

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        of_run = reduced(self._of_process(trainer))
        self._since = time.perf_counter()
        self.seconds, self.peak_memory_mb = of_run["seconds"], most((self._peak_before, of_run["peak_memory_mb"]))
        self.skipped = sorted({*self.skipped, *of_run["skipped"]})
        figures = as_classifier(pl_module).row
        timed = {name: of_run[name] for name in ("lr", "images_per_second", "seconds")}
        self.rows.append({"epoch": trainer.current_epoch + 1, **figures, **timed})
        for logger in trainer.loggers:
            logger.log_metrics({**self.rows[-1]}, step=trainer.global_step)
            logger.save()
        self._write()

    def _of_process(self, trainer: Any) -> dict[str, Any]:
        return {
            "lr": self._lr,
            "images_per_second": self._images_per_second,
            "seconds": self.seconds + time.perf_counter() - self._since,
            "peak_memory_mb": self._memory.mib() if self._memory else None,
            "skipped": trainer.datamodule.unreadable,
        }

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in KEPT:
            if name in state_dict:  # earlier versions kept fewer
                setattr(self, name, copy(state_dict[name]))

    @rank_zero_only
    def _write(self) -> None:
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _short(value) for name, value in row.items()} for row in self.rows)
        write_text(self.file, text.getvalue())


def _short(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.6g}")
