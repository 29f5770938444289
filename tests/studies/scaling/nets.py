"""A family whose counts are known by hand, and fabricated plans."""

from __future__ import annotations

import math

from torch import nn

from ghostlab.models.scaling import Factors
from ghostlab.studies.scaling.budget import Candidate, SearchPlan
from ghostlab.studies.scaling.networks import Networks


def stack(depth: float, width: float) -> nn.Module:
    """ceil(2 * depth) 1x1 convolutions of c = round(10 * width) channels behind a first one from 1 channel.

    At ``px`` pixels: px^2 * (c + ceil(2 * depth) * c^2) MACs.
    """
    channels = round(10 * width)
    first = nn.Conv2d(1, channels, 1, bias=False)
    return nn.Sequential(first, *(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(math.ceil(2 * depth))))


def macs(depth: float, width: float, px: int) -> int:
    channels = round(10 * width)
    return px**2 * (channels + math.ceil(2 * depth) * channels**2)


def stacks() -> Networks:
    return Networks(stack)


def candidate(depth: float, width: float, px: int, macs: int = 200, equal: tuple[Factors, ...] = ()) -> Candidate:
    return Candidate(Factors(depth, width, px / 64), depth, width, px, params=10, macs=macs, equal=equal)


BASE = candidate(1, 1, 64, macs=100)
DEEP, WIDE, LARGE, ALL = (candidate(2, 1, 64), candidate(1, 1.5, 64), candidate(1, 1, 96), candidate(1.2, 1.1, 72))
PLAN = SearchPlan(BASE, 200, (DEEP, WIDE, LARGE, ALL), (candidate(1.5, 1, 64, macs=150),), merged=3)
