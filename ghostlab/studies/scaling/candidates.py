"""Which factors are compared: a grid over two of the three dimensions, for the third follows from the budget.

EfficientNet (https://arxiv.org/abs/1905.11946), section 3.3: depth alpha, width beta and resolution gamma, none
below 1, with alpha * beta^2 * gamma^2 about the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count, takewhile

from ghostlab.errors import UsageError
from ghostlab.models.scaling import Factors

__all__ = ["cost", "dimensions", "pairs", "parse_budget", "representative"]


def cost(factors: Factors) -> float:
    """alpha * beta^2 * gamma^2: how many times the MACs, were there no rounding and no fixed parts."""
    return factors.depth * factors.width**2 * factors.resolution**2


def dimensions(factors: Factors) -> tuple[str, ...]:
    """The names of those that are not left at 1."""
    return tuple(name for name, factor in factors._asdict().items() if factor != 1)


def parse_budget(text: str) -> float:
    """``2x`` or ``2`` -> 2.0; raises ``UsageError`` for what is not a number above 1."""
    try:
        budget = float(text.removesuffix("x"))
    except ValueError:
        budget = math.nan
    if not 1 < budget <= 100:
        raise UsageError(
            f"--budget={text}: must be how many times the MACs of the base, from above 1x to 100x, such as 2x"
        )
    return budget


def pairs(fits: Callable[[float, float], bool], step: float) -> list[tuple[float, float]]:
    """Depth and one of the other two on the grid 1, 1 + step, 1 + 2 * step, ..., as far as they fit the budget.

    ``fits`` is asked with growing factors; once it is false it must stay so.
    """
    found: list[tuple[float, float]] = []
    for other in _grid(step):
        row = list(takewhile(lambda pair: fits(*pair), ((depth, other) for depth in _grid(step))))
        found += row
        if not row:
            return found
    raise AssertionError("every factor fits")


def representative(equal: Sequence[Factors], budget: float) -> Factors:
    """Of factors that round to the same network, those that stand for all of them.

    A dimension that may as well be 1 is 1. Beyond that: those whose cost is nearest to the budget, because only they
    keep the budget when they are raised to a power.
    """
    return min(equal, key=lambda factors: (len(dimensions(factors)), abs(cost(factors) - budget), factors))


def _grid(step: float) -> Iterator[float]:
    return (round(1 + i * step, 6) for i in count())
