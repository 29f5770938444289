"""What the runs of a search say so far: rows, best first, and how much of the order can be believed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ghostlab.scaling.budget import Candidate, Plan
from ghostlab.training.objective import tradeoff

__all__ = ["Row", "rows", "verdict"]

ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Row:
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

    def overlaps(self, other: Row) -> bool:
        """Whether the ranges from the lowest to the highest seed touch."""
        ours, theirs = self.top1.values(), other.top1.values()
        return min(ours) <= max(theirs) and min(theirs) <= max(ours)


def rows(
    plan: Plan,
    top1: Mapping[tuple[Candidate, int], float],
    failed: Mapping[tuple[Candidate, int], str],
    exponent: float,
) -> list[Row]:
    """The base and every candidate: those with results first, by falling objective."""

    def of(values: Mapping[tuple[Candidate, int], object], candidate: Candidate) -> dict[int, object]:
        return {seed: value for (one, seed), value in sorted(values.items(), key=lambda v: v[0][1]) if one == candidate}

    found = [
        Row(one, of(top1, one), of(failed, one), plan.target, exponent)  # type: ignore[arg-type]
        for one in (plan.base, *plan.candidates)
    ]
    return sorted(found, key=lambda row: -row.objective if row.top1 else float("inf"))


def verdict(table: Sequence[Row], seeds: int) -> list[str]:
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
    return [*lines, *_completeness(table, seeds), _order(best, scaled, seeds), *_against(base, best)]


def _completeness(table: Sequence[Row], seeds: int) -> list[str]:
    failed = [f"{row.candidate} seed {seed}" for row in table for seed in row.failed]
    lines = (
        [f"Not complete: {missing} of {len(table) * seeds} runs are missing."]
        if (missing := _missing(table, seeds))
        else []
    )
    return lines + ([f"Failed: {'; '.join(failed)}."] if failed else [])


def _order(best: Row, scaled: Sequence[Row], seeds: int) -> str:
    if seeds < ENOUGH_SEEDS:
        few = "a single seed" if seeds == 1 else f"{seeds} seeds"
        return f"The order is not settled: {few} cannot tell networks apart; use --seeds {ENOUGH_SEEDS} or more."
    rivals = [row for row in scaled if row is not best and row.top1 and row.overlaps(best)]
    if rivals:
        return f"The order is not settled: the seeds of the best overlap with those of {_all(rivals)}."
    if any(len(row.top1) < ENOUGH_SEEDS for row in scaled):
        return f"The order is not settled: not every candidate has {ENOUGH_SEEDS} finished seeds."
    return f"The best is ahead of every other candidate with each of its {len(best.top1)} seeds."


def _against(base: Row, best: Row) -> list[str]:
    if not base.top1:
        return []
    gain = best.mean - base.mean
    lines = [f"Over the base, at {best.candidate.macs / base.candidate.macs:.2f}x its MACs: {gain:+.2f} points."]
    if base.objective >= best.objective:
        lines.append("By the objective the base itself is best: trained like this, no scaling is worth its MACs.")
    return lines


def _missing(table: Sequence[Row], seeds: int) -> int:
    return sum(seeds - len(row.top1) for row in table)


def _all(found: Iterable[Row]) -> str:
    return " / ".join(str(row.candidate) for row in found)
