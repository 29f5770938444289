"""Step 2 of compound scaling: the winner's factors raised to phi."""

from __future__ import annotations

from typing import NamedTuple

from ghostlab.scaling.budget import Base
from ghostlab.scaling.candidates import Factors

__all__ = ["Sizes", "compound"]


class Sizes(NamedTuple):
    """What a network is built with."""

    depth: float
    width: float
    px: int


def compound(base: Base, factors: Factors, phi: int, multiple: int) -> Sizes:
    """The base scaled by alpha^phi, beta^phi and gamma^phi, its image size rounded to a multiple.

    EfficientNet (https://arxiv.org/abs/1905.11946), equation 3.
    """
    alpha, beta, gamma = (factor**phi for factor in factors)
    return Sizes(base.deeper(alpha), base.wider(beta), base.larger(gamma, multiple))
