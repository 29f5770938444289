"""The lines a run prints before and after training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import nn

from ghostlab.data import DataModule
from ghostlab.models import count
from ghostlab.models.factory import OWN
from ghostlab.quantities import duration, quantity
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.settings import Settings
from ghostlab.shell import command
from ghostlab.strategies.base import Strategy
from ghostlab.terminal import say

__all__ = ["already_finished", "header", "result", "strategy"]


@rank_zero_only
def header(settings: Settings, data: DataModule, model: nn.Module, optimizer: OptimizerConfig) -> None:
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
def strategy(chosen: Strategy) -> None:
    """What one strategy does with its settings."""
    if text := chosen.describe():
        say(f"  {chosen.name:<11} {text}")


@rank_zero_only
def result(folder: Path, figures: dict[str, Any]) -> None:
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
def already_finished(folder: Path, figures: dict[str, Any]) -> None:
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
