"""The grid of factors, the budget's syntax, and which of equal factors stand for all."""

from __future__ import annotations

import pytest

from ghostlab.errors import UsageError
from ghostlab.models.scaling import Factors
from ghostlab.studies.scaling.budget import grid_pairs, mac_factor, parse_budget, representative, scaled_dimensions


@pytest.mark.parametrize(("text", "budget"), [("2x", 2), ("2", 2), ("1.5x", 1.5), ("100x", 100)])
def test_a_budget_is_a_factor(text: str, budget: float) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["0.5x", "1x", "abc", "", "x", "-2x", "nanx", "inf", "101x", "2xx"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--budget={text}: must be how many times"):
        parse_budget(text)


def test_the_grid_ends_where_the_budget_is_overrun() -> None:
    found = grid_pairs(lambda depth, other: depth * other**2 <= 2, step=0.2)
    assert found == [(1, 1), (1.2, 1), (1.4, 1), (1.6, 1), (1.8, 1), (2, 1), (1, 1.2), (1.2, 1.2), (1, 1.4)]


def test_steps_carry_no_noise_of_floats() -> None:
    assert grid_pairs(lambda depth, other: depth * other <= 1.7, step=0.1)[:8] == [
        *((1, 1), (1.1, 1), (1.2, 1), (1.3, 1), (1.4, 1), (1.5, 1), (1.6, 1), (1.7, 1))
    ]


def test_the_cost_of_the_factors_of_the_paper() -> None:
    assert mac_factor(Factors(1.2, 1.1, 1.15)) == pytest.approx(1.92027)


def test_dimensions_at_1_are_not_scaled() -> None:
    assert scaled_dimensions(Factors(1, 1.1, 1)) == ("width",)
    assert scaled_dimensions(Factors(1, 1, 1)) == ()


def test_of_equal_factors_those_stand_for_all_that_keep_the_budget() -> None:
    equal = [Factors(1.05, 1.1, 1.15), Factors(1.25, 1.1, 1.15), Factors(1.15, 1.1, 1.15)]
    assert representative(equal, budget=2) == (1.25, 1.1, 1.15)  # their costs: 1.68, 2.00, 1.84


def test_a_dimension_that_may_be_1_is_1() -> None:
    assert representative([Factors(1, 1.1, 1.4), Factors(1, 1, 1.4)], budget=2.37) == (1, 1, 1.4)
