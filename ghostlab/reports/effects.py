"""The comparisons of a table, tested and corrected together, each with its verdict; and strategies as factors.

A main effect is what a strategy gives on average, an interaction what two give together beyond the sum of both. A
context is a set of strategies; with rows for it and for it with a strategy added, that strategy's effect in it is
known. Rows count by the strategies that they join, and only where everything else about them is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations

from ghostlab.reports.summary import Effect, Interaction
from ghostlab.statistics.paired import LEVEL, Difference, least_effect, paired
from ghostlab.statistics.verdicts import corrected, missing_seeds, verdict
from ghostlab.strategies.registry import STRATEGIES
from ghostlab.studies.plan import Comparison, Row, Table, joined_strategies

__all__ = ["Samples", "comparison_effects", "describe_test", "family_size", "interactions", "main_effects"]

Samples = Mapping[str, Mapping[int, float]]
"""Top-1 in percent by row and seed."""

Context = frozenset[str]
Contrast = Mapping[str, int]
"""Rows with their signs: the sum of their figures is what one context says."""


def comparison_effects(table: Table, top1: Samples, step: float) -> list[Effect]:
    """The effect of every comparison of a table; ``step`` is that of top-1 (``statistics.paired.resolution``)."""
    pairs = [_differences(one, top1) for one in table.comparisons]
    found = [paired(differences, step) for differences in pairs]
    family = max(family_size(table), sum(one is not None and one.p is not None for one in found))
    adjusted = corrected(found, family)
    settled = sum(p is not None and p < LEVEL for p in adjusted)
    level = LEVEL / max(family - settled, 1)
    return [
        _effect(one, difference, p, missing_seeds(differences, step, p, level))
        for one, differences, difference, p in zip(table.comparisons, pairs, found, adjusted, strict=True)
    ]


def family_size(table: Table) -> int:
    """How many comparisons have two seeds or more in the plan: the family that is corrected for."""
    seeds = {row.name: row.runs.keys() for row in table.rows}
    return sum(len(seeds[one.row] & seeds[one.reference]) > 1 for one in table.comparisons)


def describe_test(table: Table) -> str:
    """In words, what is tested in a table."""
    family = family_size(table)
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


def main_effects(table: Table, top1: Samples, step: float) -> list[Effect]:
    """Rows with a strategy against rows without it, averaged over all contexts of it; a family of their own."""
    rows = _by_parts(table.rows)
    contrasts = {name: _contexts(rows, (name,), top1) for name in _strategies(rows)}
    names = [name for name, contexts in contrasts.items() if contexts]
    values = [_averages(contrasts[name], top1) for name in names]
    steps = [step / len(contrasts[name]) ** 0.5 for name in names]
    found = [paired(*one) for one in zip(values, steps, strict=True)]
    adjusted = corrected(found, len(found))
    level = LEVEL / max(len(found), 1)
    return [
        Effect(
            f"with {name}",
            f"without {name}",
            name,
            False,
            difference,
            p,
            verdict(difference.mean, p) if difference else "no seeds",
            missing_seeds(own, own_step, p, level),
        )
        for name, difference, p, own, own_step in zip(names, found, adjusted, values, steps, strict=True)
    ]


def interactions(table: Table, top1: Samples, step: float) -> list[Interaction]:
    """For each pair (a, b): what a gives with b less what it gives without, over all contexts that have all four rows;
    a family of their own."""
    rows = _by_parts(table.rows)
    pairs = [(pair, _contexts(rows, pair, top1)) for pair in combinations(_strategies(rows), 2)]
    pairs = [(pair, contexts) for pair, contexts in pairs if contexts]
    found = [paired(_averages(contexts, top1), step * (2 / len(contexts)) ** 0.5) for _, contexts in pairs]
    adjusted = corrected(found, len(found))
    words = {"helps": "more together", "hurts": "less together"}
    said = [verdict(one.mean, p) if one else "no seeds" for one, p in zip(found, adjusted, strict=True)]
    return [
        Interaction(pair, difference, p, words.get(word, word))  # type: ignore[arg-type]
        for (pair, _), difference, p, word in zip(pairs, found, adjusted, said, strict=True)
    ]


def _by_parts(rows: Sequence[Row]) -> dict[Context, Row]:
    """Rows by what they join; a set that several rows have is left out."""
    sets = [joined_strategies(row.strategy) for row in rows]
    return {own: row for own, row in zip(sets, rows, strict=True) if sets.count(own) == 1}


def _strategies(rows: Mapping[Context, Row]) -> list[str]:
    named = frozenset[str]().union(*rows)
    return sorted(named, key=lambda name: [*STRATEGIES, name].index(name))


def _contexts(rows: Mapping[Context, Row], chosen: tuple[str, ...], top1: Samples) -> list[Contrast]:
    """The contrasts of all contexts of the chosen strategies; those without any finished run are left out."""
    found: list[Contrast] = []
    for context in rows:
        if context & set(chosen):
            continue
        signs = {context | added: sign for added, sign in _signed_subsets(chosen)}
        if signs.keys() <= rows.keys() and _differ_in_strategies_only([rows[one] for one in signs]):
            contrast = {rows[one].name: sign for one, sign in signs.items()}
            found += [contrast] if all(top1[name] for name in contrast) else []
    return found


def _signed_subsets(chosen: tuple[str, ...]) -> list[tuple[Context, int]]:
    """All subsets of the chosen strategies with their signs in the contrast."""
    sizes = range(len(chosen) + 1)
    return [(frozenset(one), (-1) ** (len(chosen) - size)) for size in sizes for one in combinations(chosen, size)]


def _differ_in_strategies_only(rows: Sequence[Row]) -> bool:
    """Whether rows have the same values wherever they join the same strategy, and nothing else that differs."""
    own = [{text for text in row.overrides if not text.startswith("strategy=")} for row in rows]
    for text in set().union(*own):
        key = text.lstrip("+")
        strategy = key.split(".")[1] if key.startswith("strategy.") else None
        meant = [strategy is None or strategy in joined_strategies(row.strategy) for row in rows]
        if meant != [text in texts for texts in own]:
            return False
    return True


def _averages(contexts: Sequence[Contrast], top1: Samples) -> list[float]:
    """The average of the contrasts with each seed that all of their rows have."""
    names = {name for contrast in contexts for name in contrast}
    seeds = reduce(frozenset.__and__, (frozenset(top1[name]) for name in names))
    return [
        sum(sign * top1[name][seed] for contrast in contexts for name, sign in contrast.items()) / len(contexts)
        for seed in sorted(seeds)
    ]
