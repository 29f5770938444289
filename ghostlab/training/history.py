"""One row an epoch: ``metrics.csv``, the lines a run prints, and the time it has taken over all its sittings."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.files import write_text
from ghostlab.training.classifier import as_classifier
from ghostlab.training.memory import peak_memory_mb, reset_peak_memory

__all__ = ["History"]


class History(Callback):
    """Keeps a row of figures for every finished epoch and writes them to ``metrics.csv``.

    The rows are part of the checkpoint, so that a resumed run's file has each epoch once.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.peak_memory_mb = 0.0
        self._since = time.perf_counter()
        self._epoch_start = 0.0
        self._images = 0
        self._images_per_second = 0.0

    @property
    def images_per_second(self) -> float:
        """Images trained on per second in the present epoch; waiting for data counts, validation does not."""
        seconds = time.perf_counter() - self._epoch_start
        return self._images / seconds if seconds else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()
        reset_peak_memory(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.images) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images_per_second = self.images_per_second

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        self.peak_memory_mb = max(self.peak_memory_mb, peak_memory_mb(pl_module.device))
        figures = as_classifier(pl_module).row
        row = {"epoch": trainer.current_epoch + 1, **figures, "lr": trainer.optimizers[0].param_groups[0]["lr"]}
        self.rows.append({**row, "images_per_second": self._images_per_second, "seconds": self.seconds})
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
        self._write()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.seconds = list(state_dict["rows"]), state_dict["seconds"]
        self.peak_memory_mb = state_dict["peak_memory_mb"]

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
