"""The arithmetic of compound scaling, against the papers and their authors' code."""

from __future__ import annotations

import math

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models.scaling import (
    ALPHA,
    BETA,
    GAMMA,
    OFFICIAL,
    Factors,
    compound,
    official,
    round_filters,
    round_repeats,
    round_resolution,
)

B0_CHANNELS = (32, 16, 24, 40, 80, 112, 192, 320, 1280)
B0_REPEATS = (1, 2, 2, 3, 3, 4, 1)
CHANNELS_AND_REPEATS = {
    "efficientnet_b0": (B0_CHANNELS, B0_REPEATS),
    "efficientnet_b1": (B0_CHANNELS, (2, 3, 3, 4, 4, 5, 2)),
    "efficientnet_b2": ((32, 16, 24, 48, 88, 120, 208, 352, 1408), (2, 3, 3, 4, 4, 5, 2)),
    "efficientnet_b3": ((40, 24, 32, 48, 96, 136, 232, 384, 1536), (2, 3, 3, 5, 5, 6, 2)),
    "efficientnet_b4": ((48, 24, 32, 56, 112, 160, 272, 448, 1792), (2, 4, 4, 6, 6, 8, 2)),
    "efficientnet_b5": ((48, 24, 40, 64, 128, 176, 304, 512, 2048), (3, 5, 5, 7, 7, 9, 3)),
    "efficientnet_b6": ((56, 32, 40, 72, 144, 200, 344, 576, 2304), (3, 6, 6, 8, 8, 11, 3)),
    "efficientnet_b7": ((64, 32, 48, 80, 160, 224, 384, 640, 2560), (4, 7, 7, 10, 10, 13, 4)),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_channels_and_repeats_of_the_published_networks(name: str) -> None:
    own = OFFICIAL[name]
    channels = tuple(round_filters(c, own.width) for c in B0_CHANNELS)
    repeats = tuple(round_repeats(r, own.depth) for r in B0_REPEATS)
    assert (channels, repeats) == CHANNELS_AND_REPEATS[name]


def test_the_two_official_roundings_differ_in_one_width_of_b3() -> None:
    with_rule = [round_filters(c, 1.2) for c in B0_CHANNELS]
    without = [round_filters(c, 1.2, limit=0) for c in B0_CHANNELS]
    assert [(a, b) for a, b in zip(with_rule, without, strict=True) if a != b] == [(24, 16)]


@pytest.mark.parametrize(
    ("filters", "width", "divisor", "rounded"),
    [
        param(16, 0.25, 8, 8, id="at-least-one-divisor"),
        param(36, 1.0, 8, 40, id="half-goes-up"),
        param(35, 1.0, 8, 32, id="nearest"),
        param(10, 1.0, 8, 16, id="not-more-than-10-percent-down"),
        param(72, 1.3, 4, 92, id="ghostnet"),
    ],
)
def test_rounding_of_channels(filters: int, width: float, divisor: int, rounded: int) -> None:
    assert round_filters(filters, width, divisor) == rounded


@pytest.mark.parametrize(
    ("resolution", "multiple", "pixels"),
    [
        param(GAMMA, 1, 258, id="exact"),
        param(1.3, 1, 291, id="down"),
        param(1.3, 32, 288, id="32"),
        param(GAMMA**7, 1, 596, id="phi-7"),
        param(0.01, 32, 32, id="at-least-one"),
        param(1.0, 1, 224, id="as-it-is"),
    ],
)
def test_rounding_of_resolutions(resolution: float, multiple: int, pixels: int) -> None:
    assert round_resolution(224, resolution, multiple) == pixels


def test_one_phi_costs_about_twice_as_much() -> None:
    depth, width, resolution = compound(1)
    assert depth * width**2 * resolution**2 == pytest.approx(1.92027)
    assert (depth, width, resolution) == (ALPHA, BETA, GAMMA)


def test_phi_is_an_exponent() -> None:
    assert compound(0) == Factors(1, 1, 1)
    assert compound(2) == pytest.approx((1.44, 1.21, 1.3225))
    assert compound(0.5, alpha=4, beta=9, gamma=16) == Factors(2, 3, 4)
    assert compound(-1)[0] == pytest.approx(1 / 1.2)


@pytest.mark.parametrize(
    ("name", "depth", "width", "resolution"),
    [
        param("efficientnet_b1", 0.52, 0.00, 0.49, id="b1"),
        param("efficientnet_b2", 1.00, 1.00, 1.07, id="b2"),
        param("efficientnet_b4", 3.22, 3.53, 3.78, id="b4"),
        param("efficientnet_b7", 6.21, 7.27, 7.05, id="b7"),
    ],
)
def test_the_published_networks_have_no_one_phi(name: str, depth: float, width: float, resolution: float) -> None:
    factors = official(float(name[-1]))
    implied = [math.log(f) / math.log(base) for f, base in zip(factors, (ALPHA, BETA, GAMMA), strict=True)]
    assert implied == pytest.approx([depth, width, resolution], abs=0.006)


@pytest.mark.parametrize("phi", [-1, 0.5, 8, math.nan])
def test_official_factors_exist_for_b0_to_b7(phi: float) -> None:
    with pytest.raises(UsageError, match=r"^phi=.*: official factors are those of B0 to B7"):
        official(phi)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"phi": 1, "alpha": 0}, "alpha=0: must be above 0", id="alpha"),
        param({"phi": 1, "gamma": -2}, "gamma=-2: must be above 0", id="gamma"),
        param({"phi": math.nan}, "phi=nan: must be a number", id="phi"),
    ],
)
def test_what_is_no_number_above_0_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compound(**options)


def test_a_multiple_is_at_least_1() -> None:
    with pytest.raises(UsageError, match="multiple=0: must be at least 1"):
        round_resolution(224, 1.0, 0)
