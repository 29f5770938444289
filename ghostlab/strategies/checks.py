"""Checks of knobs: each raises one line that names the key, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

from ghostlab.errors import UsageError, unknown

__all__ = ["at_least_one", "one_of", "require", "within"]


def require(holds: Any, key: str, value: Any, allowed: str) -> None:
    """Refuse a ``value`` for which something does not hold; ``allowed`` says what is."""
    if not holds:
        raise UsageError(f"{key}={'null' if value is None else value}: {allowed}")


def within(key: str, value: Any, interval: str) -> None:
    """Refuse what is not a number in ``interval``, written as in mathematics: ``"[0, 1)"``, ``"(0, inf)"``."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = isinstance(value, Real) and not isinstance(value, bool)
    above = number and (value >= low if interval[0] == "[" else value > low)
    below = number and (value <= high if interval[-1] == "]" else value < high)
    if not (above and below):
        raise UsageError(f"{key}={value}: must be within {interval}")


def at_least_one(key: str, value: Any) -> None:
    """Refuse what is not a whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{key}={value}: must be a whole number, at least 1")


def one_of(key: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is not one of the ``known`` names; the nearest one is shown."""
    names = list(known)
    if value not in names:
        raise UsageError(f"{key}={value}: {unknown('choice', str(value), names)}")
