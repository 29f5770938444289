"""What the runs of a search say so far: rows, best first, and how much of the order can be believed.

By the tests of an ablation: paired t over seeds, corrected for every comparison. The best of k candidates was picked by
the figures that are to prove it best. So the order is corrected for all pairs of candidates, any of which could have
come out on top, and the gain over the base for all k candidates.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from scipy import stats

from ghostlab.runs.settings import tradeoff
from ghostlab.statistics.paired import LEVEL, MANY_SEEDS, paired, resolution, spread
from ghostlab.statistics.verdicts import corrected, missing_seeds
from ghostlab.studies.scaling.budget import Candidate, SearchPlan

__all__ = ["Gain", "Rival", "SearchRow", "compare_with_best", "gain_over_base", "search_rows", "verdict"]

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


def compare_with_best(candidates: Sequence[Figures], step: float, count: int) -> list[Rival]:
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


def gain_over_base(base: Figures, candidates: Sequence[Figures], step: float, count: int) -> Gain:
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


ENOUGH_SEEDS = 3
"""Below that the t-test needs differences that networks hardly have."""


@dataclass(frozen=True)
class SearchRow:
    """A candidate with the top-1 (percent) of its finished runs by seed, and the reasons of those that failed."""

    candidate: Candidate
    top1: Mapping[int, float]
    failed: Mapping[int, str]
    target: float
    exponent: float

    @property
    def mean(self) -> float:
        """Mean top-1 in percent."""
        return statistics.mean(self.top1.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds in percentage points; None for fewer than two."""
        return statistics.stdev(self.top1.values()) if len(self.top1) > 1 else None

    @property
    def objective(self) -> float:
        """``tradeoff`` of the mean."""
        return tradeoff(self.mean, self.candidate.macs, self.target, self.exponent)

    @property
    def objectives(self) -> dict[int, float]:
        """``tradeoff`` of each seed."""
        return {s: tradeoff(top1, self.candidate.macs, self.target, self.exponent) for s, top1 in self.top1.items()}


def search_rows(
    plan: SearchPlan,
    top1: Mapping[tuple[Candidate, int], float],
    failed: Mapping[tuple[Candidate, int], str],
    exponent: float,
) -> list[SearchRow]:
    """The base and every candidate: those with results first, by falling objective."""

    def of(values: Mapping[tuple[Candidate, int], object], candidate: Candidate) -> dict[int, object]:
        return {seed: value for (one, seed), value in sorted(values.items(), key=lambda v: v[0][1]) if one == candidate}

    found = [
        SearchRow(one, of(top1, one), of(failed, one), plan.target, exponent)  # type: ignore[arg-type]
        for one in (plan.base, *plan.candidates)
    ]
    return sorted(found, key=lambda row: -row.objective if row.top1 else float("inf"))


def verdict(table: Sequence[SearchRow], seeds: int) -> list[str]:
    """What can be said: the winner, what is missing, whether the order is settled, and whether scaling paid at all."""
    base = next(row for row in table if row.candidate.kind == "base")
    scaled = [row for row in table if row is not base]
    ranked = [row for row in scaled if row.top1]
    if not ranked:
        return ["No candidate has a finished run yet."]
    best = ranked[0]
    equal = [row for row in ranked[1:] if row.objective == best.objective]
    lines = [f"Best so far: {_all([best, *equal])}" if _missing(table, seeds) else f"Best: {_all([best, *equal])}"]
    lines[0] += f" with top-1 {best.mean:.2f} %" + (f", {len(equal) + 1} equal." if equal else ".")
    step = resolution(value for row in table for value in row.top1.values())
    return [
        *lines,
        *_completeness(table, seeds),
        _order(ranked, scaled, step),
        *_against(base, ranked, step, len(scaled)),
    ]


def _completeness(table: Sequence[SearchRow], seeds: int) -> list[str]:
    failed = [f"{row.candidate} seed {seed}" for row in table for seed in row.failed]
    lines = (
        [f"Not complete: {missing} of {len(table) * seeds} runs are missing."]
        if (missing := _missing(table, seeds))
        else []
    )
    return lines + ([f"Failed: {'; '.join(failed)}."] if failed else [])


def _order(ranked: Sequence[SearchRow], scaled: Sequence[SearchRow], step: float) -> str:
    """Whether the first of the ranked candidates is ahead of every other one; objectives are what is compared."""
    if len(scaled) > 1 and max(len(row.top1) for row in scaled) < 2:
        return (
            f"The order is not settled: a single seed cannot tell networks apart; use --seeds {ENOUGH_SEEDS} or more."
        )
    coarsest = max(tradeoff(step, row.candidate.macs, row.target, row.exponent) for row in ranked)
    found = compare_with_best([row.objectives for row in ranked], coarsest, len(scaled))
    tested = f"paired t-test over seeds, p corrected by Holm's method for {comb(len(scaled), 2)} pairs of candidates"
    if open_ones := [rival for rival in found if not rival.is_settled]:
        named = _all(ranked[rival.number] for rival in open_ones)
        least = min((rival.p for rival in open_ones if rival.p is not None), default=1.0)
        more = _more(max((rival.more_seeds or 0 for rival in open_ones), default=0))
        return f"The order is not settled: the best cannot be told from {named} ({tested}: {least:.2g} or more){more}."
    if min(len(row.top1) for row in scaled) < 2:
        return "The order is not settled: not every candidate has two finished seeds."
    return f"The best is ahead of every other candidate ({tested}: below {LEVEL:g})." if found else "There is no other."


def _more(seeds: int) -> str:
    if not seeds:
        return ""
    return (
        "; more than 100 more seeds would be needed" if seeds >= MANY_SEEDS else f"; {seeds} more seeds may settle it"
    )


def _against(base: SearchRow, ranked: Sequence[SearchRow], step: float, count: int) -> list[str]:
    best = ranked[0]
    if not base.top1.keys() & best.top1.keys():
        return []
    found = gain_over_base(base.top1, [row.top1 for row in ranked], step, count)
    ratio = best.candidate.macs / base.candidate.macs
    lines = [f"Over the base, at {ratio:.2f}x its MACs: {found.mean:+.2f} points{_certainty(found, count)}."]
    if base.objective >= best.objective:
        lines.append("By the objective the base itself is best: trained like this, no scaling is worth its MACs.")
    return lines


def _certainty(found: Gain, count: int) -> str:
    picked = f", the best of {count}, which flatters it" if count > 1 else ""
    if found.p is None or found.low is None:
        return f"{picked}; one seed says nothing of its certainty"
    interval = f"{found.low:+.2f} to {found.high:+.2f}, corrected p {found.p:.2g}"
    return f"{picked}; 95 % interval with that counted in: {interval}" if picked else f"; 95 % interval {interval}"


def _missing(table: Sequence[SearchRow], seeds: int) -> int:
    return sum(seeds - len(row.top1) for row in table)


def _all(found: Iterable[SearchRow]) -> str:
    return " / ".join(str(row.candidate) for row in found)
