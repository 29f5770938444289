"""The tests behind a verdict: paired t, Holm's correction, and how many seeds would settle what is undecided.

All functions take arrays, so that whole simulated sweeps go through what real ones go through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = [
    "LEVEL",
    "MANY_SEEDS",
    "Difference",
    "holm",
    "least_effect",
    "more_seeds",
    "paired",
    "paired_t",
    "resolution",
    "spread",
]

LEVEL = 0.05
POWER = 0.8
NOISE = 5e-4
"""Percentage points by which two figures may differ that are the same: those of ``metrics.csv`` have six digits."""

MANY_SEEDS = 101
"""What ``more_seeds`` says for more than 100."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Mean difference in percentage points over ``seeds`` pairs, its 95 % interval and the p of the paired t-test.

    With one pair there are no ``low``, ``high`` and ``p``; where all figures of a table are equal, no interval.
    """

    mean: float
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float | None = None


def resolution(top1: Iterable[float]) -> float:
    """The step of top-1 in percentage points: the smallest distance of two different figures, 0 where all are equal.

    Top-1 over N images is a multiple of 100 / N, and N is not kept with a run. Few figures give a multiple of the step,
    which errs to the careful side.
    """
    steps = np.diff(np.sort(np.fromiter(top1, float)))
    return float(steps[steps > NOISE].min(initial=np.inf)) if (steps > NOISE).any() else 0.0


def spread(differences: ArrayLike, step: float) -> Array:
    """Standard deviation over the last axis, at least ``step / sqrt(2)``.

    That is how much rounding two figures to multiples of ``step`` can add to their difference at most, each off by half
    a step. Without it, seeds that happen to give the same difference, to the image, would look like certainty: a
    standard deviation of 0, and p 0. In simulated sweeps without an effect it keeps the share of false claims at the
    level for up to 20 seeds, which the smaller ``step / sqrt(6)`` of uniform rounding errors does not.
    """
    return np.maximum(np.std(np.asarray(differences, float), axis=-1, ddof=1), step / np.sqrt(2))


def paired_t(differences: ArrayLike, step: float = 0.0) -> tuple[Array, Array, Array]:
    """Mean, half the width of the 95 % interval and two-sided p of Student's t over the last axis, of n >= 2 pairs.

    With ``spread`` for the standard deviation; where that is 0, p is 1: nothing is known about the noise.
    """
    differences = np.asarray(differences, float)
    n = differences.shape[-1]
    mean, error = differences.mean(axis=-1), spread(differences, step) / np.sqrt(n)
    t = np.divide(np.abs(mean), error, out=np.zeros_like(mean), where=error > 0)
    return mean, error * stats.t.isf(LEVEL / 2, n - 1), 2 * stats.t.sf(t, n - 1)


def holm(p: ArrayLike, family: int | None = None) -> Array:
    """p-values corrected over the last axis, of a family of ``family`` comparisons (default: those given).

    Holm (1979), A simple sequentially rejective multiple test procedure: the chance of one false claim or more in the
    whole family stays below the level, however the comparisons depend on each other. Those not given count as p = 1.

        >>> import numpy as np
        >>> from ghostlab.statistics.paired import holm
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, float)
    order = np.argsort(p, axis=-1)
    factors = (family or p.shape[-1]) - np.arange(p.shape[-1])
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1), -1)
    return adjusted


def paired(differences: Sequence[float], step: float) -> Difference | None:
    """``paired_t`` of one comparison; None without a pair."""
    if len(differences) < 2:
        return Difference(float(differences[0]), 1) if differences else None
    mean, half, p = (float(value) for value in paired_t(differences, step))
    low, high = (mean - half, mean + half) if half else (None, None)
    return Difference(mean, len(differences), low, high, p)


def more_seeds(mean: float, sd: float, seeds: int, level: float) -> int | None:
    """How many more seeds than ``seeds`` give 80 % power at the two-sided ``level``; ``MANY_SEEDS`` for 100 or more.

    By the noncentral t, taking the observed mean and standard deviation for the true ones. With few seeds both are
    rough, and so is the answer: an order of magnitude to plan with. None where ``sd`` is 0.
    """
    if not sd:
        return None
    n = np.arange(max(seeds + 1, 2), seeds + MANY_SEEDS)
    critical = stats.t.isf(level / 2, n - 1)
    power: Any = stats.nct.sf(critical, n - 1, abs(mean) / sd * np.sqrt(n))
    enough = np.flatnonzero(np.nan_to_num(power, nan=1.0) >= POWER)
    return int(n[enough[0]]) - seeds if enough.size else MANY_SEEDS


def least_effect(seeds: int, family: int) -> float:
    """The smallest difference, in its own standard deviations over ``seeds`` >= 2, whose p survives the correction.

    >>> from ghostlab.statistics.paired import least_effect
    >>> round(least_effect(6, 3), 1)
    1.4
    """
    return float(stats.t.isf(LEVEL / 2 / family, seeds - 1) / np.sqrt(seeds))
