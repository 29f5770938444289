"""Candidates at the same measured MACs: a grid over two of the three dimensions, the third solved on the real networks.

EfficientNet (https://arxiv.org/abs/1905.11946), section 3.3: depth alpha, width beta and resolution gamma, none
below 1, with alpha * beta^2 * gamma^2 about the budget; the winner's factors are then raised to phi.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import NamedTuple

from ghostlab.errors import UsageError
from ghostlab.models.scaling import Factors, compound, round_resolution
from ghostlab.studies.scaling.networks import Networks

__all__ = [
    "Base",
    "Candidate",
    "Rules",
    "SearchPlan",
    "Sizes",
    "distinct_candidates",
    "grid_pairs",
    "mac_factor",
    "make_plan",
    "nearest_step",
    "parse_budget",
    "representative",
    "scale_base",
    "scaled_dimensions",
]


def mac_factor(factors: Factors) -> float:
    """alpha * beta^2 * gamma^2: how many times the MACs, were there no rounding and no fixed parts."""
    return factors.depth * factors.width**2 * factors.resolution**2


def scaled_dimensions(factors: Factors) -> tuple[str, ...]:
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


def grid_pairs(fits: Callable[[float, float], bool], step: float) -> list[tuple[float, float]]:
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
    return min(equal, key=lambda factors: (len(scaled_dimensions(factors)), abs(mac_factor(factors) - budget), factors))


def _grid(step: float) -> Iterator[float]:
    return (round(1 + i * step, 6) for i in count())


WIDTH_STEP = 0.01
"""Precision of a solved width, as a factor of the base's."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Base:
    """The network that is scaled: its depth and width as factors of the family's own, its image size in pixels."""

    depth: float
    width: float
    px: int

    def deeper(self, factor: float) -> float:
        """The depth times ``factor``, without the noise of floats, which rounding up would make a block."""
        return round(self.depth * factor, 6)

    def wider(self, factor: float) -> float:
        """The width times ``factor``."""
        return round(self.width * factor, 6)

    def larger(self, factor: float, multiple: int) -> int:
        """The image size times ``factor``: the base's own, or else the nearest multiple above it."""
        return max(self.px, round_resolution(self.px, factor, multiple)) if factor != 1 else self.px


@dataclass(frozen=True)
class Rules:
    """``budget`` as a factor of the base's MACs; ``solve`` is the dimension not on the grid, width or resolution;
    image sizes are multiples of ``multiple``; ``tolerance`` is how far MACs may be from the budget, as a part of it."""

    budget: float
    solve: str = "resolution"
    step: float = 0.1
    multiple: int = 8
    tolerance: float = 0.1


@dataclass(frozen=True)
class Candidate:
    """A network to be trained, relative to the base (``factors``) and as it is built."""

    factors: Factors
    depth: float
    width: float
    px: int
    params: int
    macs: int
    equal: tuple[Factors, ...] = ()
    """Other factors of the grid that round to the same network."""

    @property
    def single(self) -> str | None:
        """The one dimension that is scaled, if it is one."""
        names = [scaled_dimensions(one) for one in (self.factors, *self.equal)]
        return next((one[0] for one in names if len(one) == 1), None)

    @property
    def kind(self) -> str:
        """``base``, the one dimension that is scaled, or ``compound``."""
        return (self.single or "compound") if scaled_dimensions(self.factors) else "base"

    def __str__(self) -> str:
        depth, width, _ = self.factors
        return (
            f"depth {depth:g}x, width {width:g}x, {self.px} px"
            if scaled_dimensions(self.factors)
            else f"base, {self.px} px"
        )


@dataclass(frozen=True)
class SearchPlan:
    """What is trained: the base, and ``candidates`` of about ``target`` MACs. ``left_out`` are too far from these."""

    base: Candidate
    target: float
    candidates: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]
    merged: int
    """Points of the grid that round to the network of another."""

    def deviation(self, candidate: Candidate) -> float:
        """By which part of the budget the MACs miss it."""
        return candidate.macs / self.target - 1


def make_plan(
    networks: Networks, base: Base, rules: Rules, watch: Callable[[str], None] = lambda text: None
) -> SearchPlan:
    """Solve every pair of the grid and keep what is different and near enough; ``watch`` is told of the progress.

    The grid ends where the budget is overrun with the solved dimension left as it is. Raises ``UsageError`` when
    nothing is near enough.
    """
    own = networks.counts(base.depth, base.width, base.px)
    target = rules.budget * own.macs
    dimension = _Resolution(networks, base, rules) if rules.solve == "resolution" else _Width(networks, base, rules)

    def fits(depth: float, other: float) -> bool:
        watch(f"measuring depth {depth:g}, {dimension.other} {other:g}")
        return dimension.macs(depth, other, 0) <= target * (1 + rules.tolerance)

    grid = grid_pairs(fits, rules.step)
    solved = []
    for pair in grid:
        watch(f"solving depth {pair[0]:g}, {dimension.other} {pair[1]:g}")
        solved.append(dimension.solved(pair, target))
    found = [
        one
        for one in distinct_candidates(networks, base, rules, [Factors(1, 1, 1), *solved])
        if scaled_dimensions(one.factors)
    ]
    near = [abs(one.macs / target - 1) <= rules.tolerance for one in found]
    plan = SearchPlan(
        base=Candidate(Factors(1, 1, 1), base.depth, base.width, base.px, *own),
        target=target,
        candidates=tuple(one for one, fits in zip(found, near, strict=True) if fits),
        left_out=tuple(one for one, fits in zip(found, near, strict=True) if not fits),
        merged=len(grid) - len(found),
    )
    if not plan.candidates:
        best = min(plan.left_out or [plan.base], key=lambda one: abs(plan.deviation(one)))
        raise UsageError(
            f"--tolerance={rules.tolerance:g}: no candidate has MACs that near to {rules.budget:g}x; the nearest,"
            f" {best}, is {plan.deviation(best):+.1%} off; a smaller --multiple, or --solve width, may help"
        )
    return plan


def nearest_step(cost: Callable[[int], int], target: float) -> int:
    """The whole number from 0 at which a growing ``mac_factor`` is nearest to ``target``."""
    high = 1
    while cost(high) < target:
        high *= 2
    above = bisect_left(range(high), target, key=cost)
    return min(range(max(0, above - 1), above + 1), key=lambda n: abs(cost(n) - target))


@dataclass(frozen=True)
class _Resolution:
    """Image sizes in steps: 0 is the base's, 1 the first multiple above it, and so on. The grid holds the width."""

    networks: Networks
    base: Base
    rules: Rules
    other = "width"

    def px(self, n: int) -> int:
        return (self.base.px // self.rules.multiple + n) * self.rules.multiple if n else self.base.px

    def macs(self, depth: float, width: float, n: int) -> int:
        return self.networks.counts(self.base.deeper(depth), self.base.wider(width), self.px(n)).macs

    def solved(self, pair: Pair, target: float) -> Factors:
        return Factors(*pair, self.px(nearest_step(lambda n: self.macs(*pair, n), target)) / self.base.px)


@dataclass(frozen=True)
class _Width:
    """Widths in steps of ``WIDTH_STEP``, from the base's. The grid holds the resolution, before it is rounded."""

    networks: Networks
    base: Base
    rules: Rules
    other = "resolution"

    def px(self, resolution: float) -> int:
        return self.base.larger(resolution, self.rules.multiple)

    def macs(self, depth: float, resolution: float, n: int) -> int:
        width = self.base.wider(1 + n * WIDTH_STEP)
        return self.networks.counts(self.base.deeper(depth), width, self.px(resolution)).macs

    def solved(self, pair: Pair, target: float) -> Factors:
        n = nearest_step(lambda n: self.macs(*pair, n), target)
        return Factors(pair[0], round(1 + n * WIDTH_STEP, 6), self.px(pair[1]) / self.base.px)


def distinct_candidates(networks: Networks, base: Base, rules: Rules, solved: list[Factors]) -> list[Candidate]:
    """A candidate for every different network among the factors, whose resolutions are those of whole pixels."""
    same: dict[object, list[Factors]] = {}
    for one in dict.fromkeys(solved):
        shapes = networks.shapes(base.deeper(one.depth), base.wider(one.width))
        same.setdefault((shapes, one.resolution), []).append(one)
    candidates = []
    for equal in same.values():
        chosen = representative(equal, rules.budget)
        depth, width, px = base.deeper(chosen.depth), base.wider(chosen.width), round(base.px * chosen.resolution)
        others = tuple(one for one in equal if one != chosen)
        candidates.append(Candidate(chosen, depth, width, px, *networks.counts(depth, width, px), others))
    return candidates


class Sizes(NamedTuple):
    """What a network is built with."""

    depth: float
    width: float
    px: int


def scale_base(base: Base, factors: Factors, phi: int, multiple: int) -> Sizes:
    """The base with ``factors`` to the power of ``phi``, its image size rounded to a multiple."""
    depth, width, resolution = compound(phi, *factors)
    return Sizes(base.deeper(depth), base.wider(width), base.larger(resolution, multiple))
