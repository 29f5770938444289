"""Candidates have the MACs of the budget, as near as whole pixels and channels allow."""

from __future__ import annotations

import pytest
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import count, create_model
from ghostlab.studies.scaling.budget import Base, Rules, SearchPlan, make_plan, nearest_step
from ghostlab.studies.scaling.networks import Networks
from tests.studies.scaling.nets import candidate, macs, stacks

SMALL = Base(depth=1, width=1, px=32)


def ghostnet(depth: float, width: float) -> nn.Module:
    return create_model("ghostnetv2", num_classes=10, depth=depth, width=width)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(ghostnet)


@pytest.fixture(scope="module")
def ghostnets(networks: Networks) -> SearchPlan:
    return make_plan(networks, Base(1, 0.35, 64), Rules(2.0, step=1.2))


@pytest.mark.parametrize(("target", "n"), [(0, 0), (1, 1), (2, 1), (2.6, 2), (50, 7), (1000, 32)])
def test_the_nearest_of_growing_costs(target: float, n: int) -> None:
    assert nearest_step(lambda n: n**2, target) == n


def test_resolution_is_solved_for_the_budget() -> None:
    """Resolution alone: 2 * 32^2 is nearest to 44^2 or 48^2 by their multiples of 4 and 8."""
    for multiple, px in ((4, 44), (8, 48)):
        plan = make_plan(stacks(), SMALL, Rules(2.0, step=5, multiple=multiple, tolerance=0.2))
        [large] = plan.candidates
        assert (large.px, large.factors, large.kind) == (px, (1, 1, px / 32), "resolution")
        assert plan.deviation(large) == pytest.approx(px**2 / 32**2 / 2 - 1)


def test_width_is_solved_for_the_budget() -> None:
    """2 * 210 MACs a pixel: 14 channels have 14 + 2 * 196 = 406; three layers of 11 have 374, of 12 have 444."""
    plan = make_plan(stacks(), SMALL, Rules(2.0, "width", step=0.4, multiple=16))
    found = {(one.factors.depth, round(10 * one.width), one.px): one for one in plan.candidates}
    assert {(1, 14, 32), (1.4, 12, 32)} <= set(found)
    assert found[1, 14, 32].kind == "width"
    assert all(one.macs == macs(one.depth, one.width, one.px) for one in plan.candidates)


def test_the_grid_goes_as_far_as_the_tolerance() -> None:
    """Twice the depth costs 410 / 210 = 1.95 times as much."""
    plan = make_plan(stacks(), SMALL, Rules(1.9, step=1))
    assert (2, 32) in {(one.factors.depth, one.px) for one in plan.candidates}


def test_a_base_that_is_no_multiple_keeps_its_size() -> None:
    plan = make_plan(stacks(), Base(1, 1, 28), Rules(2.0, step=1))
    assert plan.base.px == 28
    assert {one.px for one in plan.candidates} == {28, 40}


def test_ghostnets_have_the_macs_of_the_budget(ghostnets: SearchPlan) -> None:
    own = count(ghostnet(1, 0.35), 64)
    assert (ghostnets.base.params, ghostnets.base.macs) == own
    assert ghostnets.target == 2 * own.macs
    for one in ghostnets.candidates:
        assert abs(one.macs / ghostnets.target - 1) <= 0.1
        assert one.px % 8 == 0 and one.px == 64 * one.factors.resolution
        assert one.width == pytest.approx(0.35 * one.factors.width)
    last = ghostnets.candidates[-1]
    assert (last.params, last.macs) == count(ghostnet(last.depth, last.width), last.px)


def test_no_other_size_is_nearer(networks: Networks, ghostnets: SearchPlan) -> None:
    large = next(one for one in ghostnets.candidates if one.kind == "resolution")
    others = [networks.counts(1, 0.35, large.px + more).macs for more in (-8, 8)]
    assert all(abs(large.macs - ghostnets.target) < abs(other - ghostnets.target) for other in others)


def test_single_dimensions_are_among_the_candidates(ghostnets: SearchPlan) -> None:
    assert [one.kind for one in (ghostnets.base, *ghostnets.candidates)] == ["base", "resolution", "depth"]
    assert {"depth", "width", "compound"} <= {one.kind for one in make_plan(stacks(), SMALL, Rules(2.0)).candidates}


def test_networks_that_are_the_same_are_one_candidate() -> None:
    """ceil(2 * depth): depths 1.1 to 1.5 have three layers."""
    plan = make_plan(stacks(), SMALL, Rules(1.5, step=0.1, multiple=8))
    deep = next(one for one in plan.candidates if one.kind == "depth")
    assert deep.macs == macs(1.5, 1, 32)
    assert [one.depth for one in (*deep.equal, deep.factors)] == [1.1, 1.2, 1.3, 1.4, 1.5]
    assert plan.merged >= 4
    every = [(one.params, one.px) for one in (*plan.candidates, *plan.left_out)]
    assert len(set(every)) == len(every)


def test_a_dimension_that_rounding_leaves_as_it_is_is_not_scaled() -> None:
    one = candidate(1.2, 1, 64, equal=(candidate(1.2, 1.04, 64).factors,))
    assert one.single == "depth"
    assert candidate(1.2, 1.1, 64).single is None


def test_what_misses_the_budget_is_left_out() -> None:
    plan = make_plan(stacks(), SMALL, Rules(2.0, step=0.5, multiple=32, tolerance=0.1))
    assert "depth 1.5x, width 1x, 32 px" in map(str, plan.left_out)  # 1.48x, or four times that at 64 px
    assert all(abs(plan.deviation(one)) > 0.1 for one in plan.left_out)
    assert all(abs(plan.deviation(one)) <= 0.1 for one in plan.candidates)


def test_the_base_is_no_candidate() -> None:
    """1.5x is too little for a second size, so the resolution alone stays that of the base."""
    plan = make_plan(stacks(), SMALL, Rules(1.5, step=0.5, multiple=32, tolerance=0.5))
    assert all(one.kind != "base" for one in (*plan.candidates, *plan.left_out))
    assert plan.base.factors == (1, 1, 1)


def test_no_candidate_at_all_is_said_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"--tolerance=0.001: no candidate .* nearest, depth 1x, width 1x, 48 px, is \+12.5% off"
    ):
        make_plan(stacks(), SMALL, Rules(2.0, step=9, tolerance=0.001))
