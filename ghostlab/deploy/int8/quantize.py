"""A network in int8 as a file: calibrated, with the fewest layers in float32 that lose little enough."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ghostlab.data import DataModule
from ghostlab.data.samples import Samples, collate
from ghostlab.data.transforms import eval_transform
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.int8.sensitivity import LayerLoss, sensitivity, weighted_layers
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError, UsageError, nearest
from ghostlab.files import writing

__all__ = ["BATCH", "Int8Result", "PrecisionTrial", "calibration_images", "fewest_float_layers", "quantize_to_file"]

RANKED_ON = 32
"""Images that the layers are ranked on."""
BATCH = 16
"""Images a batch, over which ranges are averaged: with fewer they are too narrow, with many too wide."""


@dataclass(frozen=True)
class Int8Result:
    """Top-1 in percent of the file and what it lost of that in float32, in percentage points."""

    top1: float
    drop: float
    kept: tuple[str, ...]
    """Layers in float32."""
    trials: tuple[PrecisionTrial, ...]
    """All that was measured, in order."""
    layers: tuple[LayerLoss, ...]
    """What each layer loses alone, the worst first."""


def quantize_to_file(
    form: Format,
    network: Network,
    path: Path,
    calibration: Sequence[Tensor],
    score: Callable[[Runner], float],
    float_top1: float,
    keep_float: Sequence[str] | Literal["auto"],
    max_drop: float,
) -> Int8Result:
    """Write the network in int8 to ``path`` and score it: ``score`` gives the top-1 in percent of an opened file.

    ``keep_float``: patterns of names of layers that stay in float32, or "auto" for the fewest with which at most
    ``max_drop`` percentage points are lost. Raises ``UsageError`` for a pattern that no layer has and for a format
    without int8; ``RunError``, with nothing written, where no choice of layers holds ``max_drop``.
    """
    by_hand = None if keep_float == "auto" else matching_layers(keep_float, list(weighted_layers(network.model)))
    write = form.quantizer(network, calibration)
    layers = sensitivity(lean(network.model), torch.cat(list(calibration))[:RANKED_ON])
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:

        def top1(kept: Sequence[str]) -> float:
            file = _place(Path(folder), kept) / path.name
            with writing(path.parent):
                write(file, kept)
            return score(form.open(file))

        if by_hand is None:
            chosen, trials = fewest_float_layers([layer.name for layer in layers], top1, float_top1 - max_drop)
        else:
            chosen = PrecisionTrial(tuple(by_hand), top1(by_hand))
            trials = [chosen]
        for file in _place(Path(folder), chosen.kept).iterdir():
            file.replace(path.parent / file.name)
    return Int8Result(chosen.top1, float_top1 - chosen.top1, chosen.kept, tuple(trials), tuple(layers))


def matching_layers(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that any pattern matches; ``UsageError`` for a pattern that matches none."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UsageError(
                f"--keep-float={pattern}: no convolution or linear layer has that name{nearest(pattern, names)}"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _place(folder: Path, kept: Sequence[str]) -> Path:
    """Where a trial's files are: trials differ in how many layers are kept."""
    place = folder / str(len(kept))
    place.mkdir(exist_ok=True)
    return place


@dataclass(frozen=True)
class PrecisionTrial:
    """Top-1 in percent with the layers ``kept`` in float32."""

    kept: tuple[str, ...]
    top1: float


def fewest_float_layers(
    ranking: Sequence[str], top1: Callable[[Sequence[str]], float], least: float
) -> tuple[PrecisionTrial, list[PrecisionTrial]]:
    """The trial with the shortest beginning of ``ranking`` that keeps top-1 at ``least``, and all trials in order.

    ``ranking``: the layers, those that lose most first. Tried are none, then 1, 2, 4, 8, ... of them and at last all,
    until ``least`` percent hold, then what lies between the last two counts by halves. Raises ``RunError`` where not
    even all in float32 hold it.
    """
    trials: list[PrecisionTrial] = []

    def holds(count: int) -> bool:
        kept = tuple(ranking[:count])
        trials.append(PrecisionTrial(kept, top1(kept)))
        return trials[-1].top1 >= least

    failed, held = -1, 0
    while not holds(held):
        if held == len(ranking):
            raise RunError(
                f"--max-drop: top-1 {trials[-1].top1:.2f} with all {len(ranking)} layers in float32, below the"
                f" {least:.2f} that it allows; allow more"
            )
        failed, held = held, min(max(1, 2 * held), len(ranking))
    while held - failed > 1:
        middle = (failed + held) // 2
        failed, held = (failed, middle) if holds(middle) else (middle, held)
    return next(trial for trial in trials if len(trial.kept) == held), trials


def calibration_images(data: DataModule, count: int) -> list[Tensor]:
    """Batches (B, 3, H, W) of ``count`` training images, or of all where there are fewer, as validation sees images.

    As many of each class as there are; always the same ones. ``data`` is set up. Raises ``RunError`` for images that
    cannot be read, unless ``data.on_error`` is "skip".
    """
    if count < 1:
        raise UsageError(f"--calibration={count}: at least 1 image")
    samples = Samples(data.train_source, eval_transform(data.cfg))
    chosen = balanced_indices(data.train_source.targets, count)
    batches = [
        collate(samples.__getitems__([(i, 0) for i in chosen[at : at + BATCH]])) for at in range(0, len(chosen), BATCH)
    ]
    unreadable = [entry for batch in batches for entry in batch.unreadable]
    if unreadable and (data.cfg.on_error == "raise" or len(unreadable) == len(chosen)):
        path, reason = unreadable[0]
        raise RunError(f"unreadable image {path}: {reason}; data.on_error=skip leaves such images out")
    return [batch.images for batch in batches if len(batch.images)]


def balanced_indices(targets: NDArray[np.int64], count: int) -> list[int]:
    """Indices of ``count`` images: one of every class in turn, in an order that is drawn once and for all."""
    order = np.random.default_rng(0).permutation(len(targets))
    turns = np.empty(len(targets), dtype=np.int64)
    for label in np.unique(targets):
        members = order[targets[order] == label]
        turns[members] = np.arange(len(members))
    by_turn = order[np.argsort(turns[order], kind="stable")]
    return [int(index) for index in by_turn[:count]]
