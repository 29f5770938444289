"""How often a search proves what is not so: simulated searches of candidates that are all the same network."""

from __future__ import annotations

import numpy as np
import pytest

from ghostlab.statistics.paired import paired_t
from ghostlab.studies.scaling.report import compare_with_best, gain_over_base

SEARCHES = 400
STEP = 100 / 360


def searches(candidates: int, seeds: int) -> list[list[dict[int, float]]]:
    """Top-1 by seed of the base and of candidates that are no better, the best first; in steps of an image of 360."""
    drawn = np.random.default_rng(7).normal(90, 1, (SEARCHES, candidates + 1, seeds))
    drawn = (drawn / STEP).round() * STEP
    ranked = [[one[0], *sorted(one[1:], key=lambda own: -own.mean())] for one in drawn]
    return [[dict(enumerate(own.tolist())) for own in one] for one in ranked]


@pytest.mark.parametrize(("candidates", "seeds"), [(2, 3), (4, 6)])
def test_of_equal_candidates_the_best_is_rarely_proved_best(candidates: int, seeds: int) -> None:
    claims = intervals = 0
    for base, *scaled in searches(candidates, seeds):
        claims += all(rival.is_settled for rival in compare_with_best(scaled, STEP, candidates))
        found = gain_over_base(base, scaled, STEP, candidates)
        assert found.low is not None and found.high is not None
        intervals += not found.low <= 0 <= found.high
    # Up to 5 % and three of its standard deviations.
    assert max(claims, intervals) / SEARCHES <= 0.05 + 3 * (0.05 * 0.95 / SEARCHES) ** 0.5


def test_the_interval_of_one_candidate_is_that_of_an_ablation() -> None:
    base, one = {0: 50.0, 1: 51.0, 2: 50.5}, {0: 53.0, 1: 52.0, 2: 53.5}
    found = gain_over_base(base, [one], 0.0, 1)
    mean, half, p = (float(value) for value in paired_t([3.0, 1.0, 3.0]))
    assert (found.mean, found.low, found.high, found.p) == pytest.approx((mean, mean - half, mean + half, p))


def test_more_candidates_widen_the_interval_and_only_common_seeds_count() -> None:
    base, one = {0: 50.0, 1: 51.0, 2: 50.5, 3: 0.0}, {0: 53.0, 1: 52.0, 2: 53.5, 4: 99.0}
    alone, of_five = gain_over_base(base, [one], 0.0, 1), gain_over_base(base, [one], 0.0, 5)
    assert alone.mean == of_five.mean == pytest.approx(7 / 3)
    assert alone.low is not None and of_five.low is not None
    assert of_five.low < alone.low


def test_without_two_common_seeds_nothing_is_said() -> None:
    [rival] = compare_with_best([{0: 60.0}, {0: 50.0}], 0.1, 2)
    assert (rival.p, rival.is_settled, rival.more_seeds) == (None, False, None)
