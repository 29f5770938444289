"""What a run prints before and after training, and what it leaves behind: ``result.json`` and ``curves.png``."""

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
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import nn

from ghostlab import __version__
from ghostlab.data import DataModule
from ghostlab.files import write_file
from ghostlab.models import count
from ghostlab.models.factory import OWN
from ghostlab.quantities import duration, quantity
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.plan import apply, plan
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.settings import Settings
from ghostlab.shell import command
from ghostlab.strategies.base import Strategy
from ghostlab.terminal import say
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.classifier import Classifier
from ghostlab.training.history import History

__all__ = [
    "draw_curves",
    "print_finished",
    "print_header",
    "print_result",
    "print_strategy",
    "summarize_run",
    "versions",
]


def summarize_run(
    settings: Settings, classifier: Classifier, history: History, checkpoints: Checkpoints
) -> dict[str, Any]:
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


@rank_zero_only
def print_header(settings: Settings, data: DataModule, model: nn.Module, optimizer: OptimizerConfig) -> None:
    """What is trained on what, and with which strategies in which order; the learning rate where it was worked out."""
    size = settings.data.image_size
    counts = count(model, size)
    classes = f"{data.train_size:,} train / {data.val_size:,} val, {data.num_classes} classes"
    say(
        f"ghostlab  {_scaled(settings.model)} ({quantity(counts.params)} params,"
        f" {quantity(counts.macs)} MACs at {size} px)  data {settings.data.name} ({classes})"
    )
    given = settings.optimizer
    if given.lr_per:
        say(f"optimizer {given.name}, learning rate {optimizer.lr:g}: {given.lr:g} for {given.lr_per:,} images")
    order = " -> ".join(s.name for s in settings.strategies)
    say(f"strategy  {settings.strategy}" + (f"   order: {order}" if len(settings.strategies) > 1 else ""))


def _scaled(model: dict[str, Any]) -> str:
    """The model's name with its factors: a GhostNet's width belongs to the name, as in "ghostnetv2 1.0x"."""
    width, depth = (model.get(key) or 1.0 for key in ("width", "depth"))
    shown = f" {width}x" if model["name"] in OWN or width != 1 else ""
    return model["name"] + shown + (f", {depth}x deep" if depth != 1 else "")


@rank_zero_only
def print_strategy(chosen: Strategy) -> None:
    """What one strategy does with its settings."""
    if text := chosen.describe():
        say(f"  {chosen.name:<11} {text}")


@rank_zero_only
def print_result(folder: Path, figures: dict[str, Any]) -> None:
    """The table of results, and what to do next."""
    table = Table(title=f"{figures['data']}  {figures['model']}  {figures['strategy']}  seed {figures['seed']}")
    for column in ("", "value"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in _rows(figures):
        table.add_row(name, value)
    Console().print(table)
    for remark in figures["remarks"]:
        say(remark)
    say(
        f"top-1 {figures['top1']:.1f} (best {figures['top1_best']:.1f}, epoch {figures['epoch_best']})"
        f"   {duration(figures['seconds'])}   {folder}"
    )
    say(f"next: {command('tools/fuse.py', folder)}")


@rank_zero_only
def print_finished(folder: Path, figures: dict[str, Any]) -> None:
    """Said in place of training a finished run again."""
    say(f"finished already: top-1 {figures['top1']:.1f}   {folder}   (force=true trains it again)")


def _rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("top-1, last epoch", f"{figures['top1']:.2f} %"), ("top-5, last epoch", f"{figures['top5']:.2f} %")]
    if figures["top1_ema"] is not None:
        rows += [("top-1 of averaged weights", f"{figures['top1_ema']:.2f} %")]
        rows += [("top-1 of raw weights", f"{figures['top1_raw']:.2f} %")]
    rows += [
        ("top-1, best epoch", f"{figures['top1_best']:.2f} % (epoch {figures['epoch_best']})"),
        ("validation loss", f"{figures['loss']:.4f}"),
        ("parameters, training", quantity(figures["params_train"])),
        ("parameters, deployed", quantity(figures["params_deploy"])),
        ("MACs, deployed", quantity(figures["macs_deploy"])),
        ("training speed", f"{figures['images_per_second']:,.0f} images/s"),
    ]
    if figures["peak_memory_mb"] is not None:
        rows.append(("peak memory", f"{figures['peak_memory_mb']:,.0f} MiB"))
    if figures["skipped_images"]:
        rows.append(("unreadable images skipped", f"{figures['skipped_images']}"))
    return rows
