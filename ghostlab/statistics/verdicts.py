"""What a corrected p says: whether a subject helps, hurts or is undecided, and how many more seeds would tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ghostlab.statistics.paired import LEVEL, Difference, holm, more_seeds, spread

__all__ = ["Verdict", "corrected", "missing_seeds", "verdict"]

Verdict = Literal["helps", "hurts", "undecided", "no seeds"]


def corrected(found: Sequence[Difference | None], family: int) -> list[float | None]:
    """Holm's p of those that have one."""
    raw = [one.p for one in found if one is not None and one.p is not None]
    adjusted = iter(holm(raw, family).tolist())
    return [next(adjusted) if one is not None and one.p is not None else None for one in found]


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
