"""One row an epoch: ``metrics.csv``, what a run shows while it trains, and the time over all its sittings."""

from __future__ import annotations

import csv
import io
import time
from copy import copy
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import RichProgressBarTheme
from pytorch_lightning.utilities import rank_zero_only
from torch.optim import Optimizer

from ghostlab.files import write_text
from ghostlab.quantities import duration
from ghostlab.training.classifier import Classifier, as_classifier
from ghostlab.training.memory import PeakMemory
from ghostlab.training.metrics import max_or_none, reduce_figures

__all__ = ["EpochLines", "History", "ProgressBar", "device_name", "format_figures"]

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
        device = reduce_figures({"device": device_name(pl_module.device)})["device"]
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
        of_run = reduce_figures(self._of_process(trainer))
        self._since = time.perf_counter()
        self.seconds, self.peak_memory_mb = (
            of_run["seconds"],
            max_or_none((self._peak_before, of_run["peak_memory_mb"])),
        )
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


REFRESH_SECONDS = 0.5
"""Reading the running loss waits for a GPU, so the bar's figures are renewed by time and not by step."""


def format_figures(
    losses: dict[str, float], top1: float | None, images_per_second: float, left: float, pixels: int | None = None
) -> dict[str, str]:
    """``px 48``, ``loss 0.412 (ce 0.300 kd 0.524)``, ``top-1 95.8``, ``images/s 612``, ``left 2 min 41 s``, as far as
    known; ``pixels`` are those of a stage."""
    shown = {"px": str(pixels)} if pixels else {}
    if losses:
        terms = " ".join(f"{name} {value:.3f}" for name, value in losses.items() if name != "loss")
        shown["loss"] = f"{losses['loss']:.3f} ({terms})"
    if top1 is not None:
        shown["top-1"] = f"{top1:.1f}"
    shown["images/s"] = f"{images_per_second:,.0f}"
    return shown | ({"left": duration(left)} if left else {})


class ProgressBar(RichProgressBar):
    """Lightning's rich bar with loss terms, the last top-1, images per second and the time left for the whole run."""

    def __init__(self, history: History) -> None:
        super().__init__(leave=True, theme=RichProgressBarTheme(metrics_text_delimiter="  "))
        self.history = history
        self._figures: dict[Any, Any] = {}
        self._read_at = 0.0

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[Any, Any]:
        now = time.perf_counter()
        if now - self._read_at > REFRESH_SECONDS or trainer.fit_loop.epoch_loop.done:
            self._read_at, classifier = now, as_classifier(pl_module)
            self._figures = format_figures(
                classifier.losses.means(),
                classifier.row.get("top1"),
                self.history.images_per_second * trainer.world_size,
                _seconds_left(trainer, self.history),
                _pixels(classifier),
            )
        return self._figures

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        return super().configure_columns(trainer)[:-1]

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1:>3}/{self.trainer.max_epochs}"


class EpochLines(Checkpoint):
    """Prints one line after each epoch, for logs and pipes.

    Lightning runs checkpoint callbacks last and in their order, so that what a line tells of is kept already.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        row, classifier = self.history.rows[-1], as_classifier(pl_module)
        shown = format_figures(
            {name: row[name] for name in classifier.losses.names if name in row},
            row["top1"],
            row["images_per_second"],
            _seconds_left(trainer, self.history),
            _pixels(classifier),
        )
        text = "  ".join(f"{name} {value}" for name, value in shown.items())
        print(f"epoch {row['epoch']}/{trainer.max_epochs}  {text}", flush=True)


def _pixels(classifier: Classifier) -> int | None:
    """The size of this epoch's images where it changes in the course of the run."""
    return classifier.stages.stage(classifier.current_epoch).image_size if len(classifier.stages) > 1 else None


def _seconds_left(trainer: Trainer, history: History) -> float:
    """Estimated from the epochs that are finished; 0 while none is."""
    done = len(history.rows)
    return history.seconds / done * ((trainer.max_epochs or 0) - done) if done else 0.0


def device_name(device: torch.device) -> str:
    """Of a GPU the name of the card, of a CPU the number of threads that it computes with."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
