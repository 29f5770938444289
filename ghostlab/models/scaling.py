"""Compound scaling as plain arithmetic: how much deeper, wider and larger, and what that rounds to.

Papers: EfficientNet (https://arxiv.org/abs/1905.11946), EfficientNetV2 (https://arxiv.org/abs/2104.00298).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from timm.layers import make_divisible

from ghostlab.errors import UsageError

__all__ = [
    "ALPHA",
    "BETA",
    "GAMMA",
    "OFFICIAL",
    "Factors",
    "compound",
    "official",
    "round_filters",
    "round_repeats",
    "round_resolution",
]

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
"""Bases of depth, width and resolution that the paper's search found for B0 (section 4)."""


class Factors(NamedTuple):
    """How many times as deep (blocks), wide (channels) and large (side of the image)."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


class Official(NamedTuple):
    """Factors of one of the published EfficientNets over B0, the side of its images and its dropout."""

    width: float
    depth: float
    resolution: int
    dropout: float


OFFICIAL = {
    "efficientnet_b0": Official(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Official(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Official(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Official(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Official(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Official(1.6, 2.2, 456, 0.4),
    "efficientnet_b6": Official(1.8, 2.6, 528, 0.5),
    "efficientnet_b7": Official(2.0, 3.1, 600, 0.5),
}
"""The authors' own, rounded by hand (https://github.com/tensorflow/tpu, efficientnet_builder.py): no powers of
``ALPHA``, ``BETA`` and ``GAMMA``."""


def compound(phi: float, alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA) -> Factors:
    """``alpha**phi`` times as deep, ``beta**phi`` as wide, ``gamma**phi`` as large (EfficientNet, equation 3).

    Computing costs about ``(alpha * beta**2 * gamma**2) ** phi`` times as much, 1.92 ** phi with the paper's bases.
    Raises ``UsageError`` for a base that is not above 0 and a phi that is not a number.
    """
    for name, base in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 0 < base < math.inf:
            raise UsageError(f"{name}={base:g}: must be above 0")
    if not math.isfinite(phi):
        raise UsageError(f"phi={phi:g}: must be a number")
    return Factors(alpha**phi, beta**phi, gamma**phi)


def official(phi: float) -> Factors:
    """The factors of the published B<phi> over B0; raises ``UsageError`` unless ``phi`` is an integer from 0 to 7."""
    known = OFFICIAL.get(f"efficientnet_b{phi:g}")
    if known is None:
        raise UsageError(f"phi={phi:g}: official factors are those of B0 to B7, so an integer from 0 to 7")
    return Factors(known.depth, known.width, known.resolution / OFFICIAL["efficientnet_b0"].resolution)


def round_filters(filters: int, width: float, divisor: int = 8, limit: float = 0.9) -> int:
    """Channels of a layer ``width`` times as wide: the nearest multiple of ``divisor``, at least one.

    Where rounding would take more than 10 % away (``limit=0.9``) it goes up instead, as in the authors' EfficientNet
    (https://github.com/tensorflow/tpu). Their EfficientNetV2 (https://github.com/google/automl) has no such rule:
    ``limit=0``.
    """
    return make_divisible(filters * width, divisor, round_limit=limit)


def round_repeats(repeats: int, depth: float) -> int:
    """Blocks of a stage ``depth`` times as deep, rounded up."""
    return math.ceil(repeats * depth)


def round_resolution(pixels: int, resolution: float, multiple: int = 1) -> int:
    """Side of images ``resolution`` times as large, rounded to the nearest ``multiple``, at least one of it.

    Multiples of 32 divide evenly through all strides of most networks. Raises ``UsageError`` for a multiple below 1.
    """
    if multiple < 1:
        raise UsageError(f"multiple={multiple}: must be at least 1")
    return max(multiple, math.floor(pixels * resolution / multiple + 0.5) * multiple)
