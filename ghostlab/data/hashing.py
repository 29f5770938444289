"""Random numbers that are a function of a key and an index: the same on every machine, in any order, for any part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hash_indices", "permutation", "sample_seeds"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_WORD = 2**64 - 1
_SEEDS, _ORDER = 1, 2


def hash_indices(indices: NDArray[np.integer], *key: int) -> NDArray[np.uint64]:
    """64 random bits for each index (N,) under a key of any integers.

    SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators", figure 17), started at
    a state that the key is folded into.
    """
    state = np.zeros(1, np.uint64)
    for part in key:
        state = _mix((state ^ np.uint64(part & _WORD)) + _GAMMA)
    return _mix(state + indices.astype(np.uint64) * _GAMMA)


def sample_seeds(indices: NDArray[np.integer], seed: int, epoch: int) -> NDArray[np.int64]:
    """The 32-bit seeds (N,) of the samples with these indices in an epoch of a run with that seed."""
    return (hash_indices(indices, seed, epoch, _SEEDS) >> np.uint64(32)).astype(np.int64)


def permutation(size: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """A permutation (size,) of ``range(size)``."""
    return np.argsort(hash_indices(np.arange(size), seed, epoch, _ORDER), kind="stable")


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
