"""The comparisons of a table, tested and corrected together, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping

from ghostlab.reports.summary import Effect
from ghostlab.statistics.paired import LEVEL, Difference, least_effect, paired
from ghostlab.statistics.verdicts import corrected, missing_seeds, verdict
from ghostlab.studies.plan import Comparison, Table

__all__ = ["Samples", "comparison_effects", "method", "testable"]

Samples = Mapping[str, Mapping[int, float]]
"""Top-1 in percent by row and seed."""


def comparison_effects(table: Table, top1: Samples, step: float) -> list[Effect]:
    """The effect of every comparison of a table; ``step`` is that of top-1 (``statistics.paired.resolution``)."""
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


def _differences(one: Comparison, top1: Samples) -> list[float]:
    """Of the seeds that both rows have."""
    row, reference = top1[one.row], top1[one.reference]
    return [row[seed] - reference[seed] for seed in sorted(row.keys() & reference.keys())]


def _effect(one: Comparison, difference: Difference | None, adjusted: float | None, more: int | None) -> Effect:
    said = verdict(difference.mean, adjusted, one.removed) if difference else "no seeds"
    return Effect(one.row, one.reference, one.subject, one.removed, difference, adjusted, said, more)
