"""Splits of data that comes without one: seeded, class by class, and the same on every machine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ghostlab.data.hashing import shuffled

__all__ = ["split_fraction", "split_per_class"]

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def split_fraction(targets: NDArray[np.int64], fraction: float, seed: int) -> Split:
    """Indices (train, val), ascending, with about ``fraction`` of every class in val.

    ``ceil(fraction * N)`` images are shared out over the classes by largest remainder; every class keeps at least one
    image on either side, so each needs two.
    """
    counts = np.bincount(targets)
    quotas = counts * fraction
    val = np.floor(quotas).astype(int)
    missing = math.ceil(fraction * len(targets)) - val.sum()
    val[np.argsort(val - quotas, kind="stable")[:missing]] += 1
    return _split(targets, np.clip(val, 1, counts - 1), seed)


def split_per_class(targets: NDArray[np.int64], train_count: int, seed: int) -> Split:
    """Indices (train, val), ascending, with ``train_count`` images of every class in train and the rest in val."""
    counts = np.bincount(targets)
    return _split(targets, counts - np.minimum(train_count, counts - 1), seed)


def _split(targets: NDArray[np.int64], val_counts: NDArray[np.int64], seed: int) -> Split:
    order = shuffled(len(targets), seed)
    of_class = [order[targets[order] == label] for label in range(len(val_counts))]
    val = np.sort(np.concatenate([members[:n] for members, n in zip(of_class, val_counts, strict=True)]))
    return np.setdiff1d(np.arange(len(targets)), val), val
