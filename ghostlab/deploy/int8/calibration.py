"""Training images from which the ranges of activations are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ghostlab.data import DataModule
from ghostlab.data.samples import Samples, collate
from ghostlab.data.transforms import eval_transform
from ghostlab.errors import RunError, UsageError

__all__ = ["BATCH", "calibration_images"]

BATCH = 16
"""Images a batch, over which ranges are averaged: with fewer they are too narrow, with many too wide."""


def calibration_images(data: DataModule, count: int) -> list[Tensor]:
    """Batches (B, 3, H, W) of ``count`` training images, or of all where there are fewer, as validation sees images.

    As many of each class as there are; always the same ones. ``data`` is set up. Raises ``RunError`` for images that
    cannot be read, unless ``data.on_error`` is "skip".
    """
    if count < 1:
        raise UsageError(f"--calibration={count}: at least 1 image")
    samples = Samples(data.train_source, eval_transform(data.cfg))
    chosen = spread(data.train_source.targets, count)
    batches = [
        collate(samples.__getitems__([(i, 0) for i in chosen[at : at + BATCH]])) for at in range(0, len(chosen), BATCH)
    ]
    unreadable = [entry for batch in batches for entry in batch.unreadable]
    if unreadable and (data.cfg.on_error == "raise" or len(unreadable) == len(chosen)):
        path, reason = unreadable[0]
        raise RunError(f"unreadable image {path}: {reason}; data.on_error=skip leaves such images out")
    return [batch.images for batch in batches if len(batch.images)]


def spread(targets: NDArray[np.int64], count: int) -> list[int]:
    """Indices of ``count`` images: one of every class in turn, in an order that is drawn once and for all."""
    order = np.random.default_rng(0).permutation(len(targets))
    turns = np.empty(len(targets), dtype=np.int64)
    for label in np.unique(targets):
        members = order[targets[order] == label]
        turns[members] = np.arange(len(members))
    by_turn = order[np.argsort(turns[order], kind="stable")]
    return [int(index) for index in by_turn[:count]]
