"""``last.ckpt`` after every epoch and ``best.ckpt`` at every best top-1, each whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from ghostlab.errors import RunError
from ghostlab.files import write_file
from ghostlab.runs.run import Run
from ghostlab.terminal import say
from ghostlab.training.classifier import Classifier, as_classifier

__all__ = ["Checkpoints", "check_resumable"]

RESUMED = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "pytorch-lightning_version")
"""What a checkpoint has besides weights for a run to go on."""


class Checkpoints(Checkpoint):
    """Saves at the end of an epoch, after validation. Lightning runs checkpoint callbacks last, so all others' state is
    up to date in the file.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.best_top1 = -1.0
        self.best_epoch = 0
        self.epochs = 0
        """How many ``last.ckpt`` has seen."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        top1 = as_classifier(pl_module).row["top1"]
        improved = top1 > self.best_top1
        if improved:
            self.best_top1, self.best_epoch = top1, trainer.current_epoch + 1
        unfinished = self.run.checkpoints / ".last.tmp"
        trainer.save_checkpoint(unfinished)
        if trainer.is_global_zero:
            # In this order, so that the best top-1 that last.ckpt remembers is always there.
            if improved:
                write_file(self.run.best, lambda temporary: shutil.copyfile(unfinished, temporary))
            unfinished.replace(self.run.last)
        self.epochs = trainer.current_epoch + 1

    def state_dict(self) -> dict[str, Any]:
        return {"best_top1": self.best_top1, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_top1, self.best_epoch = state_dict["best_top1"], state_dict["best_epoch"]


def check_resumable(checkpoint: Path, classifier: Classifier) -> Path:
    """``checkpoint``; raises ``RunError`` for one that cannot be read or is of another network than ``classifier``."""
    try:
        kept = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        epoch = kept["epoch"] + 1
        absent = [key for key in RESUMED if key not in kept]
        theirs = {**kept["state_dict"], **kept.get("state_dict_companions", {})}
        misfits = _misfits(theirs, classifier.state_dict())
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        raise RunError(f"{checkpoint}: cannot be read ({reason}); start anew with resume=never") from error
    if absent or misfits:
        why = f"has no {absent[0]}" if absent else f"is of another network ({misfits[0]})"
        raise RunError(f"{checkpoint}: {why}; start anew with resume=never")
    say(f"resuming after epoch {epoch}")
    return checkpoint


def _misfits(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    return [
        key for key in {**ours, **theirs} if getattr(theirs.get(key), "shape", 0) != getattr(ours.get(key), "shape", 1)
    ]
