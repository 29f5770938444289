"""Numbers as a person reads them, and what is a number."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["duration", "is_number", "mean_and_sd", "p_value", "quantity", "ratio", "signed"]


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


def ratio(number: float) -> str:
    """``1.25x``."""
    return f"{number:.2f}x"


def signed(points: float) -> str:
    """``+1.25``, ``-0.50``."""
    return f"{points:+.2f}"


def mean_and_sd(mean: float, sd: float | None) -> str:
    """``61.00 ±0.90``; no deviation where it is not known."""
    return f"{mean:.2f}" + ("" if sd is None else f" ±{sd:.2f}")


def p_value(p: float) -> str:
    """To three digits after the point: ``0.042``, ``<0.001``."""
    return f"{p:.3f}" if p >= 1e-3 else "<0.001"


def is_number(value: Any) -> bool:
    """Whether it is a finite number; JSON has NaN as well, and true is an integer to Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
