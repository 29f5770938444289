"""Rows and verdict from fabricated results."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ghostlab.studies.scaling.budget import Candidate
from ghostlab.studies.scaling.report import SearchRow, search_rows, verdict
from tests.studies.scaling.nets import ALL, BASE, DEEP, LARGE, PLAN, WIDE, candidate

NOTHING: dict[tuple[Candidate, int], str] = {}


def table(results: dict[Candidate, list[float]], failed: dict[tuple[Candidate, int], str] = NOTHING) -> list[SearchRow]:
    top1 = {(one, seed): value for one, values in results.items() for seed, value in enumerate(values)}
    return search_rows(PLAN, top1, failed, exponent=-0.07)


def settled(*best: float, others: float = 60.0) -> dict[Candidate, list[float]]:
    """One candidate ahead of three that are equal, with three seeds."""
    return {BASE: [50, 50, 50], DEEP: list(best), WIDE: [others] * 3, LARGE: [others] * 3, ALL: [others] * 3}


def test_the_best_objective_is_first_and_what_has_no_run_last() -> None:
    found = table({BASE: [50], DEEP: [60], ALL: [70]})
    assert [row.candidate for row in found] == [ALL, DEEP, BASE, WIDE, LARGE]


def test_macs_count_in_the_objective() -> None:
    cheap = candidate(1.1, 1, 64, macs=180)
    row, dear = (SearchRow(one, {0: 60.0}, {}, target=200, exponent=-0.07) for one in (cheap, DEEP))
    assert row.objective == pytest.approx(60 * 0.9**-0.07)
    assert row.objective > dear.objective == 60


def test_mean_and_spread_are_over_the_finished_seeds() -> None:
    row = next(row for row in table({DEEP: [60, 64]}) if row.candidate == DEEP)
    assert (row.mean, row.spread) == (62, pytest.approx(8**0.5))
    assert SearchRow(DEEP, {1: 60.0}, {}, 200, -0.07).spread is None


def many(**tops: float) -> dict[Candidate, list[float]]:
    """Six seeds around each mean; DEEP's differences to all others have a standard deviation of 0.2 or so."""
    named = {"base": BASE, "deep": DEEP, "wide": WIDE, "large": LARGE, "all_three": ALL}
    noise = np.random.default_rng(0).normal(0, 0.15, (len(named), 6)).round(1)
    return {one: [*(tops[name] + own)] for (name, one), own in zip(named.items(), noise, strict=True)}


def test_a_winner_ahead_beyond_its_noise_is_settled() -> None:
    lines = verdict(table(many(base=50, deep=63, wide=60, large=60, all_three=61)), seeds=6)
    assert lines[0].startswith("Best: depth 2x, width 1x, 64 px with top-1 62.9")
    tested = "paired t-test over seeds, p corrected by Holm's method for 6 pairs of candidates: below 0.05"
    assert lines[1] == f"The best is ahead of every other candidate ({tested})."
    assert lines[2].startswith("Over the base, at 2.00x its MACs: +12.9")
    assert "points, the best of 4, which flatters it; 95 % interval with that counted in: +12." in lines[2]


def test_three_seeds_whose_ranges_do_not_overlap_prove_nothing() -> None:
    """Ahead of all others with each of its seeds, which two equal candidates are in one of ten searches."""
    _, order, gained = verdict(table(settled(61, 62, 63)), seeds=3)
    assert order.startswith(
        "The order is not settled: the best cannot be told from depth 1x, width 1.5x, 64 px / depth 1x"
    )
    assert "for 6 pairs of candidates: 0.4" in order
    assert "seeds may settle it" in order
    assert gained.startswith("Over the base, at 2.00x its MACs: +12.00 points, the best of 4, which flatters it;")


def test_those_that_cannot_be_told_from_the_best_are_named() -> None:
    lines = verdict(table(many(base=50, deep=63, wide=60, large=62.9, all_three=61)), seeds=6)
    assert re.search(r"the best cannot be told from depth .x, width 1x, .. px \(paired t-test", lines[1])


def test_a_single_seed_is_not_settled_however_far_apart() -> None:
    results = {one: values[:1] for one, values in settled(90, 90, 90).items()}
    _, order, gained = verdict(table(results), 1)
    assert order == "The order is not settled: a single seed cannot tell networks apart; use --seeds 3 or more."
    assert gained.endswith("+40.00 points, the best of 4, which flatters it; one seed says nothing of its certainty.")


def test_a_tie_names_all_that_are_equal() -> None:
    first, *rest = verdict(table(settled(60, 60, 60)), seeds=3)
    for one in (DEEP, WIDE, LARGE, ALL):
        assert str(one) in first
    assert first.endswith("4 equal.")
    assert "The order is not settled" in rest[0]


def test_missing_runs_are_counted_and_failed_ones_named() -> None:
    lines = verdict(table({BASE: [50], DEEP: [60, 61, 62]}, {(WIDE, 0): "loss is not finite"}), seeds=3)
    assert lines[0].startswith("Best so far: depth 2x")
    assert "Not complete: 11 of 15 runs are missing." in lines
    assert "Failed: depth 1x, width 1.5x, 64 px seed 0." in lines


def test_a_lone_finished_candidate_settles_nothing() -> None:
    lines = "\n".join(verdict(table({DEEP: [60, 61, 62]}), seeds=3))
    assert "The order is not settled: not every candidate has two finished seeds." in lines
    assert "base" not in lines


def test_a_base_that_is_not_beaten_is_said() -> None:
    lines = verdict(table({**settled(52, 52, 52, others=51), BASE: [50, 50, 50]}), seeds=3)
    assert lines[2].startswith("Over the base, at 2.00x its MACs: +2.00 points, the best of 4, which flatters it;")
    assert "By the objective the base itself is best: trained like this, no scaling is worth its MACs." in lines


def test_without_runs_there_is_no_best() -> None:
    assert verdict(table({}), seeds=3) == ["No candidate has a finished run yet."]
