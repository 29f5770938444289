"""Step 2 of compound scaling: the winner's factors raised to phi."""

from __future__ import annotations

from typing import NamedTuple

from ghostlab.models.scaling import Factors, compound
from ghostlab.studies.scaling.budget import Base

__all__ = ["Sizes", "enlarged"]


class Sizes(NamedTuple):
    """What a network is built with."""

    depth: float
    width: float
    px: int


def enlarged(base: Base, factors: Factors, phi: int, multiple: int) -> Sizes:
    """The base with ``factors`` to the power of ``phi``, its image size rounded to a multiple."""
    depth, width, resolution = compound(phi, *factors)
    return Sizes(base.deeper(depth), base.wider(width), base.larger(resolution, multiple))
