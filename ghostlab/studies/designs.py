"""Which combinations of strategies an ablation compares, and with what: pure functions of the strategies' names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ghostlab.errors import UsageError
from ghostlab.strategies.registry import canonical_name, join

__all__ = ["DESIGNS", "Variant", "parts_of"]

LARGEST_FACTORIAL = 10


@dataclass(frozen=True)
class Variant:
    """A combination of strategies; compared with the variant named ``reference`` it says whether ``subject`` helps:
    by adding it, or, where ``removed``, by leaving it out."""

    name: str
    overrides: tuple[str, ...]
    reference: str | None = None
    subject: str = ""
    removed: bool = False


def parts_of(values: Sequence[str]) -> list[str]:
    """What is ablated: each of several values of ``strategy=``, or what a single one joins, recipes taken apart.

    A recipe among several values stays one part. Raises ``UsageError`` as ``join`` does, and for a part named twice.
    """
    parts = list(join(values[0])) if len(values) == 1 else [canonical_name(join(value)) for value in values]
    parts = [part for part in dict.fromkeys(parts) if part != "baseline"]
    if not parts:
        raise UsageError("strategy=baseline: an ablation needs strategies, as in strategy=kd,reparam")
    return parts


def add_one(parts: Sequence[str], base: str) -> list[Variant]:
    """``base``, and ``base`` with each part alone."""
    reference = _joined(base)
    variants = [_variant(reference)]
    return variants + [_variant(_joined(base, part), None, reference, part) for part in parts]


def leave_one_out(parts: Sequence[str], base: str) -> list[Variant]:
    """``base`` with all parts, and that without each one."""
    every = _variant(_joined(base, *parts), "all")
    rest = {part: [other for other in parts if other != part] for part in parts}
    return [every] + [
        _variant(_joined(base, *others), f"without {part}", every.name, part, removed=True)
        for part, others in rest.items()
    ]


def factorial(parts: Sequence[str], base: str) -> list[Variant]:
    """``base`` with every subset of the parts, but for those that exclude each other; each against ``base``."""
    if len(parts) > LARGEST_FACTORIAL:
        raise UsageError(f"ablation=factorial: 2^{len(parts)} combinations of {len(parts)} strategies are too many")
    reference = _joined(base)
    found = [_variant(reference)]
    for chosen in (subset for size in range(1, len(parts) + 1) for subset in combinations(parts, size)):
        if _excluded(chosen):
            continue
        name = _joined(base, *chosen)
        found.append(_variant(name, name, reference, "+".join(chosen)))
    return found


DESIGNS: dict[str, Callable[[Sequence[str], str], list[Variant]]] = {
    "add_one": add_one,
    "leave_one_out": leave_one_out,
    "factorial": factorial,
}


def _variant(
    strategy: str, name: str | None = None, reference: str | None = None, subject: str = "", removed: bool = False
) -> Variant:
    return Variant(name or strategy, (f"strategy={strategy}",), reference, subject, removed)


def _joined(*names: str) -> str:
    """One canonical name; a recipe and its parts are the same."""
    given = [name for name in names if name != "baseline"]
    return canonical_name(join("+".join(given))) if given else "baseline"


def _excluded(chosen: Sequence[str]) -> bool:
    """Whether two of them exclude each other: that pair is no mistake of the user, who wants either one."""
    try:
        join("+".join(chosen))
    except UsageError:
        if len(chosen) == 1:
            raise
        return True
    return False
