"""Verdicts of a table's comparisons, corrected together."""

from __future__ import annotations

import statistics

import pytest
from scipy import stats

from ghostlab.reports.effects import comparison_effects, describe_test
from ghostlab.reports.summary import Effect
from ghostlab.statistics.paired import LEVEL, more_seeds
from ghostlab.studies.plan import Comparison, Row
from tests.reports.runs import row, table

BASE = [50.0, 51.0, 52.0]
BETTER, WORSE, SAME = [60.1, 61.0, 61.9], [40.1, 41.0, 41.9], [50.4, 50.7, 52.1]


def effects(top1: dict[str, list[float]], comparisons: list[Comparison] | None = None) -> dict[str, Effect]:
    compared = table([row(name) for name in top1], comparisons)
    found = comparison_effects(compared, {name: dict(enumerate(values)) for name, values in top1.items()}, 0.1)
    return {effect.row: effect for effect in found}


def test_verdicts_need_the_corrected_p() -> None:
    found = effects({"baseline": BASE, "kd": BETTER, "ema": WORSE, "mixup": SAME})
    assert {name: effect.verdict for name, effect in found.items()} == {
        "kd": "helps",
        "ema": "hurts",
        "mixup": "undecided",
    }
    raw = stats.ttest_rel(SAME, BASE).pvalue
    assert found["mixup"].adjusted == pytest.approx(raw)
    difference = found["kd"].difference
    assert difference is not None and difference.p is not None
    assert difference.p == pytest.approx(stats.ttest_rel(BETTER, BASE).pvalue)
    assert found["kd"].adjusted == pytest.approx(3 * difference.p)


def test_what_is_missed_when_it_is_removed_helps() -> None:
    found = effects({"ema+kd": BASE, "ema": WORSE, "kd": BETTER})
    assert (found["ema"].subject, found["ema"].removed, found["ema"].verdict) == ("kd", True, "helps")
    assert (found["kd"].subject, found["kd"].removed, found["kd"].verdict) == ("ema", True, "hurts")
    assert found["ema"].difference is not None
    assert found["ema"].difference.mean == pytest.approx(-10)


def test_only_seeds_that_both_rows_have_are_paired() -> None:
    compared = table([row("baseline"), row("kd")])
    [found] = comparison_effects(compared, {"baseline": {0: 10.0, 1: 20.0}, "kd": {1: 21.0, 2: 99.0}}, 0.1)
    assert found.difference is not None
    assert (found.difference.mean, found.difference.seeds, found.verdict) == (1, 1, "no seeds")


def test_a_row_without_runs_has_no_difference() -> None:
    found = effects({"baseline": BASE, "kd": []})["kd"]
    assert (found.difference, found.adjusted, found.verdict, found.more_seeds) == (None, None, "no seeds", None)


def test_runs_that_are_still_missing_count_in_the_correction() -> None:
    alone = effects({"baseline": BASE, "kd": BETTER})["kd"]
    among = effects({"baseline": BASE, "kd": BETTER, "ema": [], "mixup": [50.0]})["kd"]
    assert alone.adjusted is not None
    assert among.adjusted == pytest.approx(3 * alone.adjusted)


def test_rows_of_one_seed_cannot_be_tested_and_cost_nothing() -> None:
    rows = [row("baseline"), row("kd"), *(row("mixup", 1, name=f"mixup {k}") for k in range(30))]
    top1 = {one.name: {seed: 60.0 + 10 * (one.name == "kd") + seed / 10 for seed in one.runs} for one in rows}
    found = {effect.row: effect for effect in comparison_effects(table(rows), top1, 0.1)}
    assert found["kd"].adjusted == found["kd"].difference.p  # type: ignore[union-attr]
    assert found["mixup 3"].verdict == "no seeds"


def test_direct_comparisons_belong_to_the_family() -> None:
    direct = Comparison("kd", "mixup", "kd")
    plain = [Comparison("kd", "baseline", "kd"), Comparison("mixup", "baseline", "mixup")]
    compared = table([row(name) for name in ("baseline", "mixup", "kd")], [*plain, direct])
    top1 = {name: dict(enumerate(values)) for name, values in {"baseline": BASE, "mixup": SAME, "kd": BETTER}.items()}
    found = comparison_effects(compared, top1, 0.1)
    assert [(effect.row, effect.reference, effect.verdict) for effect in found][2] == ("kd", "mixup", "helps")
    smallest = min(effect.difference.p for effect in found if effect.difference and effect.difference.p)
    assert min(effect.adjusted for effect in found if effect.adjusted) == pytest.approx(3 * smallest)


def test_only_what_is_undecided_has_a_number_of_seeds() -> None:
    found = effects({"baseline": BASE, "kd": BETTER, "mixup": [51.0, 51.5, 53.9]})
    assert found["kd"].more_seeds is None
    assert found["mixup"].verdict == "undecided"
    assert 1 <= (found["mixup"].more_seeds or 0) <= 10


def test_the_number_of_seeds_is_for_the_level_that_comes_next() -> None:
    """Of three comparisons one is settled, so that the next one has to reach a half of the level."""
    found = effects({"baseline": BASE, "kd": BETTER, "mixup": [51.0, 51.5, 53.9], "ema": SAME})
    deviation = statistics.stdev([1.0, 0.5, 1.9])
    assert found["kd"].verdict == "helps"
    assert found["mixup"].more_seeds == more_seeds(3.4 / 3, deviation, 3, LEVEL / 2)
    assert found["mixup"].more_seeds != more_seeds(3.4 / 3, deviation, 3, LEVEL)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("baseline", 1), row("kd", 1)], "Nothing is tested: that takes two seeds"),
        ([row("baseline"), row("kd")], "for 1 comparison in this table. A verdict needs corrected p < 0.05"),
        ([row("baseline"), row("kd")], "with 3 seeds, a mean difference of at least 2.5 of its standard deviations."),
        ([row("baseline"), row("kd"), row("ema"), row("mixup", 1)], "for 2 comparisons in this table"),
    ],
)
def test_the_method_names_the_family_and_what_it_takes(rows: list[Row], said: str) -> None:
    assert said in describe_test(table(rows))
