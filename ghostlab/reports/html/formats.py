"""Numbers as the page shows them; what is not known is a dash."""

from __future__ import annotations

import math

from ghostlab import quantities
from ghostlab.statistics.paired import MANY_SEEDS, Difference

__all__ = [
    "both",
    "count",
    "difference",
    "duration",
    "finite",
    "interval",
    "milliseconds",
    "more",
    "probability",
    "signed",
    "times",
    "top1",
]

NONE = "-"
MINUS, TIMES, SPREAD = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{PLUS-MINUS SIGN}"


def finite(value: float | None) -> float | None:
    """The value, None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def top1(mean: float | None, sd: float | None = None, runs: int | None = None) -> str:
    """``61.40 ± 0.35 (3)``: percent, standard deviation and number of runs."""
    if (mean := finite(mean)) is None:
        return NONE
    spread = "" if sd is None else f" {SPREAD} {sd:.2f}"
    return f"{mean:.2f}{spread}" + ("" if runs is None else f" ({runs})")


def both(raw: float | None, averaged: float | None) -> str:
    """Top-1 of raw and of averaged weights, where there are both."""
    return NONE if raw is None or averaged is None else f"{top1(raw)} / {top1(averaged)}"


def signed(value: float | None) -> str:
    """Points with their sign."""
    if (value := finite(value)) is None:
        return NONE
    return f"{value:+.2f}".replace("-", MINUS)


def interval(value: Difference | None) -> str:
    """``[+0.42, +2.18]``, empty where there is none."""
    return f"[{signed(value.low)}, {signed(value.high)}]" if value and value.low is not None else ""


def difference(value: Difference | None) -> str:
    """A mean difference with its interval."""
    return f"{signed(value.mean)} {interval(value)}".strip() if value else NONE


def probability(value: float | None) -> str:
    """A p-value to three digits after the point."""
    if (value := finite(value)) is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def times(value: float | None) -> str:
    """How many times the reference's."""
    return NONE if (value := finite(value)) is None else f"{value:.2f}{TIMES}"


def count(value: float | None) -> str:
    """Parameters or MACs."""
    return NONE if (value := finite(value)) is None else quantities.quantity(value)


def milliseconds(value: float | None) -> str:
    """To two digits after the point."""
    return NONE if (value := finite(value)) is None else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """``1 h 20 min``, ``2 min 41 s`` or ``31 s``."""
    return NONE if (seconds := finite(seconds)) is None else quantities.duration(seconds)


def more(seeds: int | None) -> str:
    """Seeds that would likely settle a comparison."""
    if seeds is None:
        return NONE
    return f"over {MANY_SEEDS - 1}" if seeds >= MANY_SEEDS else f"{seeds}"
