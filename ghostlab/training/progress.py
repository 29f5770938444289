"""What a run shows while it trains: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import RichProgressBarTheme
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.quantities import duration
from ghostlab.training.classifier import Classifier, as_classifier
from ghostlab.training.history import History

__all__ = ["EpochLines", "ProgressBar", "figures"]

REFRESH_SECONDS = 0.5
"""Reading the running loss waits for a GPU, so the bar's figures are renewed by time and not by step."""


def figures(
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
            self._figures = figures(
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
        shown = figures(
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
