"""Large numbers and times as a person reads them."""

from __future__ import annotations

__all__ = ["duration", "quantity"]


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
