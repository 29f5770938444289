"""The comparisons of a table, tested and corrected together, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ghostlab.ablation.plan import Comparison, Table
from ghostlab.ablation.statistics import LEVEL, holm, least_effect, more_seeds, paired, spread
from ghostlab.ablation.summary import Difference, Effect, Verdict

__all__ = ["Samples", "comparison_effects", "corrected", "method", "missing_seeds", "testable", "verdict"]

Samples = Mapping[str, Mapping[int, float]]
"""Top-1 in percent by row and seed."""


def comparison_effects(table: Table, top1: Samples, step: float) -> list[Effect]:
    """The effect of every comparison of a table; ``step`` is that of top-1 (``statistics.resolution``)."""
    pairs = [_differences(one, top1) for one in table.comparisons]
    found = [paired(differences, step) for differences in pairs]
    family = max(testable(table), sum(one is not None and one.p is not None for one in found))
    adjusted = corrected(found, family)
    settled = sum(p is not None and p < LEVEL for p in adjusted)
    level = LEVEL / max(family - settled, 1)
    return [
        _effect(one, difference, p, missing_seeds(differences, step, p, level))
        for one, differences, difference, p in zip(table.comparisons, pairs, found, adjusted, strict=True)
    ]


def testable(table: Table) -> int:
    """How many comparisons have two seeds or more in the plan: the family that is corrected for."""
    seeds = {row.name: row.runs.keys() for row in table.rows}
    return sum(len(seeds[one.row] & seeds[one.reference]) > 1 for one in table.comparisons)


def corrected(found: Sequence[Difference | None], family: int) -> list[float | None]:
    """Holm's p of those that have one."""
    raw = [one.p for one in found if one is not None and one.p is not None]
    adjusted = iter(holm(raw, family).tolist())
    return [next(adjusted) if one is not None and one.p is not None else None for one in found]


def method(table: Table) -> str:
    """In words, what is tested in a table."""
    family = testable(table)
    seeds = max((len(row.runs) for row in table.rows), default=0)
    if not family or seeds < 2:
        return "Nothing is tested: that takes two seeds or more of a row and of what it is compared with."
    return (
        "Paired t-test over seeds, two-sided; the interval is that of each row alone, p is corrected by Holm's method"
        f" for {family} comparison{'s' * (family > 1)} in this table. A verdict needs corrected p < {LEVEL:g}: with"
        f" {seeds} seeds, a mean difference of at least {least_effect(seeds, family):.1f} of its standard deviations."
    )


def verdict(mean: float, adjusted: float | None, removed: bool = False) -> Verdict:
    """Whether the subject of a comparison helps: where it is ``removed``, the row is worse without it."""
    if adjusted is None:
        return "no seeds"
    if adjusted >= LEVEL:
        return "undecided"
    return "helps" if (mean > 0) != removed else "hurts"


def missing_seeds(differences: Sequence[float], step: float, adjusted: float | None, level: float) -> int | None:
    """``more_seeds`` of what is undecided; ``level`` is the one that the next to be decided has to reach."""
    if adjusted is None or adjusted < LEVEL:
        return None
    return more_seeds(sum(differences) / len(differences), float(spread(differences, step)), len(differences), level)


def _differences(one: Comparison, top1: Samples) -> list[float]:
    """Of the seeds that both rows have."""
    row, reference = top1[one.row], top1[one.reference]
    return [row[seed] - reference[seed] for seed in sorted(row.keys() & reference.keys())]


def _effect(one: Comparison, difference: Difference | None, adjusted: float | None, more: int | None) -> Effect:
    said = verdict(difference.mean, adjusted, one.removed) if difference else "no seeds"
    return Effect(one.row, one.reference, one.subject, one.removed, difference, adjusted, said, more)
