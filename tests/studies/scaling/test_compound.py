"""The winner's factors raised to phi."""

from __future__ import annotations

import pytest

from ghostlab.models.scaling import Factors
from ghostlab.studies.scaling.budget import Base, scale_base

PAPER = Factors(1.2, 1.1, 1.15)


@pytest.mark.parametrize(
    ("phi", "sizes"), [(0, (1, 1, 224)), (1, (1.2, 1.1, 256)), (2, (1.44, 1.21, 296)), (3, (1.728, 1.331, 344))]
)
def test_factors_are_raised_to_phi_and_sizes_rounded(phi: int, sizes: tuple[float, float, int]) -> None:
    """224 * 1.15, 1.15^2 and 1.15^3 are 257.6, 296.24 and 340.7."""
    assert scale_base(Base(1, 1, 224), PAPER, phi, multiple=8) == sizes


def test_factors_multiply_those_of_the_base() -> None:
    assert scale_base(Base(depth=2, width=0.35, px=64), Factors(1.5, 1.2, 1), 2, multiple=8) == (4.5, 0.504, 64)


def test_phi_1_is_the_candidate_itself() -> None:
    assert scale_base(Base(1, 1, 28), Factors(1, 1, 40 / 28), 1, multiple=8).px == 40
