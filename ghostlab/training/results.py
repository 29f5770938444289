"""What a finished run leaves behind: the figures of its ``result.json``, and ``curves.png``."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import pytorch_lightning
import timm
import torch
import torchvision
from torch import nn

from ghostlab import __version__
from ghostlab.files import write_file
from ghostlab.models import count
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.plan import apply, plan
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.settings import Settings
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.classifier import Classifier
from ghostlab.training.history import History

__all__ = ["draw_curves", "summary", "versions"]


def summary(settings: Settings, classifier: Classifier, history: History, checkpoints: Checkpoints) -> dict[str, Any]:
    """The figures of a finished run; accuracies in percent, of the last epoch unless the name says best."""
    last = history.rows[-1]
    slim = count(_deployed(classifier.model, settings.data.image_size), settings.data.resolved_test_size)
    return {
        "status": "finished",
        "model": settings.model["name"],
        "strategy": settings.strategy,
        "data": settings.data.name,
        "seed": settings.seed,
        "config_hash": settings.config_hash,
        "config_schema": SCHEMA,
        "epochs": last["epoch"],
        "top1": last["top1"],
        "top5": last["top5"],
        "loss": last["val_loss"],
        "top1_raw": last["top1_raw"],
        "top1_ema": last.get("top1_ema"),
        "top1_best": checkpoints.best_top1,
        "epoch_best": checkpoints.best_epoch,
        "params_train": sum(p.numel() for p in classifier.model.parameters()),
        "params_deploy": slim.params,
        "macs_deploy": slim.macs,
        "images_per_second": harmonic_mean(row["images_per_second"] for row in history.rows),
        "seconds": history.seconds,
        "peak_memory_mb": history.peak_memory_mb,
        "device": ", then ".join(history.devices) or "unknown",
        "skipped_images": len(history.skipped),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of everything that a run's numbers may depend on."""
    return {
        "ghostlab": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pytorch_lightning": pytorch_lightning.__version__,
    }


def draw_curves(history: History, terms: list[str], title: str, file: Path) -> None:
    """Draw the loss ``terms`` and top-1 over the epochs."""
    from matplotlib.figure import Figure  # half a second to import, needed once a run

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    accuracies = sorted(name for name in history.rows[-1] if name.startswith("top1_"))
    epochs = [row["epoch"] for row in history.rows]
    for axes, series in ((left, [*terms, "val_loss"]), (right, accuracies)):
        for name in series:
            axes.plot(epochs, [row.get(name, math.nan) for row in history.rows], "o-", markersize=3, label=name)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    left.set_ylabel("loss (nats)")
    right.set_ylabel("top-1 (%)")
    figure.suptitle(title)
    write_file(file, lambda temporary: figure.savefig(temporary, dpi=120))


def _deployed(model: nn.Module, image_size: int) -> nn.Module:
    """The network that ``tools/fuse.py`` makes, without its proof: only its size is wanted."""
    copied = copy_of(model).cpu().float()
    return apply(copied, plan(copied, torch.zeros(1, 3, image_size, image_size)))
