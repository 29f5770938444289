"""Known values of the tests, and simulated sweeps: how often verdicts are wrong, and how often they are found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ghostlab.statistics.paired import (
    LEVEL,
    MANY_SEEDS,
    Difference,
    holm,
    least_effect,
    more_seeds,
    paired,
    paired_t,
    resolution,
    spread,
)

Array = NDArray[np.float64]

# Student (1908), The probable error of a mean: hours of sleep gained with each of two drugs.
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def simulated(sweeps: int, rows: int, seeds: int, step: float, noise: float, effect: float = 0.0) -> Array:
    """Differences (sweeps, rows, seeds) to a baseline with which all rows share the noise of the seed; the rows' own
    noise differs, up to twice the baseline's; top-1 is rounded to ``step``."""
    draws = np.random.default_rng([rows, seeds, sweeps])
    shared = draws.uniform(80, 90, (sweeps, 1, 1)) + draws.normal(0, 2 * noise, (sweeps, 1, seeds))
    own = noise * np.linspace(1, 2, rows)[:, None]
    trained = shared + effect + draws.normal(0, 1, (sweeps, rows, seeds)) * own
    baseline = shared + draws.normal(0, noise, (sweeps, 1, seeds))
    return np.round(trained / step) * step - np.round(baseline / step) * step


def verdicts(differences: Array, step: float) -> tuple[Array, Array]:
    """Whether each row helps, and whether it hurts."""
    mean, _, p = paired_t(differences, step)
    sure = holm(p) < LEVEL
    return sure & (mean > 0), sure & (mean < 0)


def test_the_paired_test_is_that_of_the_textbook() -> None:
    found = paired(list(SECOND - FIRST), step=0.1)
    assert found is not None and found.p is not None and found.low is not None and found.high is not None
    assert (found.mean, found.seeds) == (pytest.approx(1.58), 10)
    assert found.p == pytest.approx(0.00283, abs=5e-6)  # t = 4.0621 with 9 degrees of freedom
    assert (found.low, found.high) == (pytest.approx(0.7001, abs=5e-5), pytest.approx(2.4599, abs=5e-5))


def test_the_paired_test_is_that_of_scipy_for_many_at_once() -> None:
    differences = simulated(20, 5, 4, step=0.1, noise=1)
    mean, half, p = paired_t(differences, 0.1)
    expected = stats.ttest_1samp(differences, 0, axis=-1)
    np.testing.assert_allclose(p, expected.pvalue)
    np.testing.assert_allclose(mean - half, expected.confidence_interval().low)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02], [0.02]),
        ([0.6, 0.7], [1, 1]),
        ([0.01, 0.01], [0.02, 0.02]),
    ],
)
def test_holms_correction_is_that_worked_out_by_hand(p: list[float], adjusted: list[float]) -> None:
    np.testing.assert_allclose(holm(p), adjusted)
    np.testing.assert_allclose(holm([p, p[::-1]]), [adjusted, adjusted[::-1]])


def test_what_cannot_be_tested_yet_counts_in_the_family() -> None:
    np.testing.assert_allclose(holm([0.01, 0.004], family=5), [0.04, 0.02])


@pytest.mark.parametrize(
    ("effect", "level", "seeds"), [(0.5, 0.05, 34), (0.8, 0.05, 15), (0.2, 0.05, 199), (1, 0.05, 10)]
)
def test_the_number_of_seeds_is_that_of_published_tables(effect: float, level: float, seeds: int) -> None:
    """Of G*Power's for paired differences, two-sided, 80 % power."""
    assert more_seeds(effect, 1, seeds - 7, level) == 7
    assert more_seeds(-3 * effect, 3, seeds - 1, level) == 1


def test_at_least_one_more_seed_and_no_more_than_many() -> None:
    assert more_seeds(50, 1, 5, 0.05) == 1
    assert more_seeds(0.01, 1, 5, 0.05) == MANY_SEEDS
    assert more_seeds(0, 1, 5, 0.05) == MANY_SEEDS
    assert more_seeds(0, 0, 5, 0.05) is None


def test_the_step_of_top1_is_the_smallest_distance_of_two_figures() -> None:
    assert resolution([46.59999907, 46.6, 12.8, 46.9, 46.7]) == pytest.approx(0.1)
    assert resolution([50, 50, 50.0001]) == 0
    assert resolution([]) == 0


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_same_difference_with_every_seed_is_no_certainty(seeds: int) -> None:
    found = paired([0.1, 0.1 + 1e-6, 0.1][:seeds], step=0.1)
    assert found is not None and found.p is not None
    assert found.p > LEVEL
    assert spread([0.1] * seeds, 0.1) == pytest.approx(0.1 / 2**0.5)


def test_many_times_the_step_is_certain_even_without_noise() -> None:
    found = paired([5.0, 5.0, 5.0], step=0.1)
    assert found is not None and found.p is not None
    assert found.p < 1e-3


def test_without_two_different_figures_nothing_is_known() -> None:
    assert paired([0.0, 0.0, 0.0], step=0) == Difference(0, 3, None, None, 1)


def test_one_pair_has_no_interval_and_none_no_difference() -> None:
    assert paired([1.5], step=0.1) == Difference(1.5, 1)
    assert paired([], step=0.1) is None


@pytest.mark.parametrize("step", [0.1, 1.0])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("rows", [1, 5, 12])
def test_without_an_effect_false_claims_stay_at_the_level(rows: int, seeds: int, step: float) -> None:
    for noise in (0.02, 0.05, 0.1, 0.3, 1.0):
        helps, hurts = verdicts(simulated(2000, rows, seeds, step, noise), step)
        assert stats.binomtest(int(helps.any(1).sum()), 2000, LEVEL / 2, "greater").pvalue > 1e-4
        assert stats.binomtest(int((helps | hurts).any(1).sum()), 2000, LEVEL, "greater").pvalue > 1e-4


def test_without_correction_and_floor_they_would_not() -> None:
    differences = simulated(2000, 12, 5, 0.1, 0.3)
    assert (paired_t(differences, 0.1)[2] < LEVEL).any(1).mean() > 0.2
    coarse = simulated(2000, 1, 8, 1.0, 0.7)
    with_floor, without = ((paired_t(coarse, step)[2] < LEVEL).mean() for step in (1.0, 0.0))
    assert with_floor < 0.065 < without


def test_an_effect_of_five_deviations_is_found_and_lies_in_the_interval() -> None:
    noise = 0.3
    alone = simulated(2000, 1, 5, 0.1, noise, effect=5 * noise * 2**0.5)
    helps, hurts = verdicts(alone, 0.1)
    assert helps.mean() > 0.99
    assert not hurts.any()
    mean, half, _ = paired_t(alone, 0.1)
    assert (np.abs(mean - 5 * noise * 2**0.5) < half).mean() == pytest.approx(0.95, abs=0.015)
    among_twelve, _ = verdicts(simulated(500, 12, 5, 0.1, noise, effect=5 * noise * 5**0.5), 0.1)
    assert among_twelve.mean() > 0.95


def test_power_grows_with_the_seeds_as_promised() -> None:
    effect, noise = 0.6, 0.5
    promised = 3 + (more_seeds(effect, noise * 2**0.5, 3, LEVEL) or 0)
    seeds = (3, 6, promised - 1, promised, 2 * promised)
    power = [verdicts(simulated(4000, 1, n, 0.01, noise, effect), 0.01)[0].mean() for n in seeds]
    assert power == sorted(power)
    assert power[2] < 0.82
    assert power[3] == pytest.approx(0.8, abs=0.04)


def test_the_least_effect_is_what_the_correction_just_lets_through() -> None:
    size = least_effect(seeds=3, family=12)
    differences = size * 1.0001 + np.array([-1, 0, 1])
    assert holm([paired_t(differences)[2]], family=12) < LEVEL
    assert holm([paired_t(differences - size * 0.001)[2]], family=12) > LEVEL
