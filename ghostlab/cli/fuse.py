"""Collapse a run's training branches and fold its batch norms, with proof."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ghostlab.cli.guard import guarded
from ghostlab.data import DataModule
from ghostlab.deploy.network import Accuracy, fold, write_fused
from ghostlab.deploy.run_data import data_module
from ghostlab.errors import GhostlabError
from ghostlab.files import require_writable
from ghostlab.models import Counts, count, create_model, load_weights
from ghostlab.quantities import quantity
from ghostlab.runs.run import find_run, open_run
from ghostlab.terminal import say
from ghostlab.training.metrics import evaluate


class Opened(NamedTuple):
    """A trained model, how it was built, its data if they are known, and what is done to an image."""

    model: nn.Module
    config: dict[str, Any]
    data: DataModule | None
    preprocessing: dict[str, Any]


def run(source: Path, out: Path | None, foreign: dict[str, Any] | None) -> None:
    """Write ``fused.safetensors`` and ``fused.json``; ``RunError``, with nothing written, when the proof fails.

    A network in which there is nothing to fold is written as it was built.
    """
    folder = out or (source if source.is_dir() else source.parent)
    require_writable(folder)
    model, config, data, preprocessing = open_foreign(source, foreign) if foreign else open_own(source)
    size = preprocessing["input_size"][-1]
    fused, report = fold(model, torch.zeros(2, 3, size, size))
    say(str(report or "nothing to fold, as there are no branches and no batch norms: written as it was built"))
    accuracy = measure_accuracy(model, fused, data)
    counts = count(model, size), count(fused, size)
    weights = write_fused(folder, fused, report, counts, config, preprocessing, accuracy)
    say(f"{format_change(*counts)} at {size} px   {weights} ({weights.stat().st_size / 1e6:.1f} MB), fused.json")


def open_own(source: Path) -> Opened:
    """A run folder, or a checkpoint in one."""
    model, config = open_run(source)
    data = data_module(config["data"], find_run(source))
    return Opened(model, config, data, data.cfg.preprocessing())


def open_foreign(source: Path, options: dict[str, Any]) -> Opened:
    """Any other checkpoint; ``options`` are those of ``create_model``."""
    model = load_weights(create_model(**options), source).eval()
    known: Any = model.pretrained_cfg
    preprocessing = {key: known[key] for key in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    built = {key: value for key, value in options.items() if key != "num_classes"}
    return Opened(model, {"model": built, "data": {"num_classes": options["num_classes"]}}, None, preprocessing)


def measure_accuracy(model: nn.Module, fused: nn.Module, data: DataModule | None) -> Accuracy | None:
    """Top-1 of both networks on the validation set; None, with the reason said, where the data is not there."""
    if data is None:
        say("top-1 not measured: the checkpoint does not say on which data")
        return None
    try:
        data.setup()
    except GhostlabError as error:
        say(f"top-1 not measured: {error}")
        return None
    before, after = (evaluate(m, data.val_dataloader(), data.num_classes)["top1"] for m in (model, fused))
    say(f"top-1 {before:.2f} -> {after:.2f} on {data.val_size:,} images")
    return Accuracy(before, after, data.val_size)


def format_change(before: Counts, after: Counts) -> str:
    """``8.13 M -> 6.15 M params, 404 M -> 167 M MACs``."""
    params = f"{quantity(before.params)} -> {quantity(after.params)} params"
    return f"{params}, {quantity(before.macs)} -> {quantity(after.macs)} MACs"


def main(arguments: list[str], prog: str = "fuse.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("source", type=Path, help="a run folder, or a checkpoint")
    parser.add_argument("--out", type=Path, help="where to write (default: beside the source)")
    parser.add_argument("--model", help="the architecture of a checkpoint outside of a run folder, such as ghostnetv3")
    parser.add_argument("--num-classes", type=int, default=1000, help="its classes (default: 1000)")
    parser.add_argument("--width", type=float, help="its width, for a GhostNet (default: 1.0)")
    given = parser.parse_args(arguments)
    wanted = {"name": given.model, "num_classes": given.num_classes, "width": given.width}
    architecture = {key: value for key, value in wanted.items() if value is not None} if given.model else None
    return guarded(lambda: run(given.source, given.out, architecture))
