"""Splits of data that comes without one: seeded, class by class, and the same on every machine.

Data that may grow is split by the content of each image, data that is always the same by exact counts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ghostlab.data.hashing import hash_indices, permutation

__all__ = ["distinct_counts", "split_content", "split_fraction", "split_per_class"]

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def split_content(hashes: NDArray[np.uint64], targets: NDArray[np.int64], fraction: float, seed: int) -> Split:
    """Indices (train, val), ascending; the ``hashes`` (N,) of the images' contents decide which are in val.

    Each is in val with probability ``fraction``, whatever else there is: images that are added or removed do not move
    the others, and copies stay together. Of a class whose images all fall on one side one goes to the other side, so
    each class needs two different images.
    """
    drawn = hash_indices(hashes, seed)
    in_val = drawn < np.uint64(int(fraction * 2**64))
    order = np.lexsort((drawn, targets))
    for members in np.split(order, np.cumsum(np.bincount(targets))[:-1]):
        if not in_val[members[0]]:
            in_val[members[drawn[members] == drawn[members[0]]]] = True
        elif in_val[members[-1]]:
            in_val[members[drawn[members] == drawn[members[-1]]]] = False
    return np.flatnonzero(~in_val), np.flatnonzero(in_val)


def distinct_counts(hashes: NDArray[np.uint64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many different contents (C,) each class has."""
    order = np.lexsort((hashes, targets))
    labels, contents = targets[order], hashes[order]
    first = np.append(True, (labels[1:] != labels[:-1]) | (contents[1:] != contents[:-1]))
    return np.bincount(labels[first])


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
    order = permutation(len(targets), seed)
    of_class = [order[targets[order] == label] for label in range(len(val_counts))]
    val = np.sort(np.concatenate([members[:n] for members, n in zip(of_class, val_counts, strict=True)]))
    return np.setdiff1d(np.arange(len(targets)), val), val
