"""What the seeds of a search prove, by the tests of an ablation: paired t over seeds, corrected for every comparison.

The best of k candidates was picked by the figures that are to prove it best. So the order is corrected for all pairs of
candidates, any of which could have come out on top, and the gain over the base for all k candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from scipy import stats

from ghostlab.statistics.paired import LEVEL, paired, spread
from ghostlab.statistics.verdicts import corrected, missing_seeds

__all__ = ["Gain", "Rival", "gain", "rivals"]

Figures = Mapping[int, float]
"""By seed."""


class Rival(NamedTuple):
    """A candidate beside the best: the differences by seed and Holm's p, None without two common seeds; ``level`` is
    what the next p to be settled must be below, before it is corrected."""

    number: int
    differences: list[float]
    p: float | None
    step: float
    level: float

    @property
    def more_seeds(self) -> int | None:
        """How many more would likely settle an undecided one, as ``Effect.more_seeds``."""
        return missing_seeds(self.differences, self.step, self.p, self.level)

    @property
    def is_settled(self) -> bool:
        return self.p is not None and self.p < LEVEL


class Gain(NamedTuple):
    """Mean difference to the base, its interval that holds for all candidates at once with 95 %, and Holm's p."""

    mean: float
    low: float | None
    high: float | None
    p: float | None


def rivals(candidates: Sequence[Figures], step: float, count: int) -> list[Rival]:
    """Every candidate but the first against the first, the best; ``step`` is that of the figures (``resolution``).

    Corrected for all pairs among ``count`` candidates, those without figures included.
    """
    pairs = [*combinations(range(len(candidates)), 2)]
    differences = [_differences(candidates[one], candidates[other]) for one, other in pairs]
    adjusted = corrected([paired(values, step) for values in differences], comb(count, 2))
    settled = sum(p is not None and p < LEVEL for p in adjusted)
    level = LEVEL / max(comb(count, 2) - settled, 1)
    return [
        Rival(other, values, p, step, level)
        for (one, other), values, p in zip(pairs, differences, adjusted, strict=True)
        if one == 0
    ]


def gain(base: Figures, candidates: Sequence[Figures], step: float, count: int) -> Gain:
    """Of the first candidate, the best of ``count``, over the base."""
    differences = [_differences(one, base) for one in candidates]
    own = differences[0]
    p = corrected([paired(values, step) for values in differences], count)[0]
    mean = float(np.mean(own)) if own else float("nan")
    if len(own) < 2:
        return Gain(mean, None, None, p)
    half = float(spread(own, step) / np.sqrt(len(own)) * stats.t.isf(LEVEL / count / 2, len(own) - 1))
    return Gain(mean, mean - half, mean + half, p)


def _differences(one: Figures, other: Figures) -> list[float]:
    """Of the seeds that both have."""
    return [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
