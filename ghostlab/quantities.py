"""Large numbers and times as a person reads them, and what is a number."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["duration", "is_number", "quantity"]


def quantity(number: float) -> str:
    """``6.16 M``, ``167 M``, ``1.23 G``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """``1 h 20 min``, ``2 min 41 s``, ``31 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def is_number(value: Any) -> bool:
    """Whether it is a finite number; JSON has NaN as well, and true is an integer to Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
