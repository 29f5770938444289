"""Main effects and interactions, against numbers worked out by hand."""

from __future__ import annotations

import pytest
from pytest import approx

from ghostlab.reports.effects import interactions, main_effects
from ghostlab.studies.plan import Row
from tests.reports.runs import row, table

NAMES = ("baseline", "ema", "kd", "ema+kd")


def top1(**by_row: list[float]) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(values)) for name, values in by_row.items()}


def two_by_two(together: list[float]) -> dict[str, dict[int, float]]:
    return top1(baseline=[50, 51, 52], ema=[52, 53.5, 54], kd=[53, 54, 55]) | {"ema+kd": dict(enumerate(together))}


def test_an_interaction_is_what_both_give_beyond_the_sum() -> None:
    compared = table([row(name) for name in NAMES])
    [found] = interactions(compared, two_by_two([60, 61.5, 62]), 0.1)
    assert set(found.strategies) == {"ema", "kd"}
    assert found.difference is not None
    assert found.difference.mean == approx(60 - 53 - 52 + 50)
    assert found.verdict == "more together"
    assert found.adjusted == found.difference.p
    assert interactions(compared, two_by_two([45, 46.5, 47.2]), 0.1)[0].verdict == "less together"
    assert interactions(compared, two_by_two([55, 56.5, 57.2]), 0.1)[0].verdict == "undecided"


def test_the_floor_of_the_deviation_is_that_of_four_figures() -> None:
    figures = top1(baseline=[50, 51, 52], ema=[52, 53.5, 54], kd=[53, 54, 55]) | {"ema+kd": {0: 55.2, 1: 56.7, 2: 57.2}}
    compared = table([row(name) for name in NAMES])
    assert interactions(compared, figures, 0.1)[0].verdict == "undecided"
    assert interactions(compared, figures, 0.01)[0].verdict == "more together"


def test_contexts_are_averaged_for_each_seed() -> None:
    rows = [row(name) for name in (*NAMES, "mixup", "ema+mixup", "kd+mixup", "ema+kd+mixup")]
    figures = two_by_two([60, 61.5, 62]) | top1(mixup=[10, 10, 10])
    figures |= {
        "ema+mixup": {0: 11, 1: 12, 2: 13},
        "kd+mixup": {0: 10, 1: 10, 2: 10},
        "ema+kd+mixup": {0: 12, 1: 13, 2: 15},
    }
    found = {frozenset(one.strategies): one for one in interactions(table(rows), figures, 0.1)}
    assert len(found) == 3
    difference = found[frozenset({"ema", "kd"})].difference
    assert difference is not None
    assert difference.mean == approx(((5 + 5 + 5) / 3 + (1 + 1 + 2) / 3) / 2)


def test_a_main_effect_is_with_less_without_over_all_contexts() -> None:
    found = {
        effect.subject: effect
        for effect in main_effects(table([row(n) for n in NAMES]), two_by_two([60, 61.5, 62]), 0.1)
    }
    assert set(found) == {"ema", "kd"}
    kd, ema = found["kd"].difference, found["ema"].difference
    assert kd is not None and ema is not None
    assert kd.mean == approx(((3 + 3 + 3) / 3 + (8 + 8 + 8) / 3) / 2)
    assert ema.mean == approx(((2 + 2.5 + 2) / 3 + (7 + 7.5 + 7) / 3) / 2)
    assert (found["kd"].row, found["kd"].reference, found["kd"].verdict) == ("with kd", "without kd", "helps")
    assert found["kd"].adjusted == approx(2 * (kd.p or 0))


def test_a_seed_counts_that_all_rows_have() -> None:
    figures = two_by_two([60, 61.5, 62])
    del figures["ema"][1]
    [found] = interactions(table([row(name) for name in NAMES]), figures, 0.1)
    assert found.difference is not None
    assert found.difference.seeds == 2


def test_a_context_without_runs_is_left_out() -> None:
    figures = two_by_two([60, 61.5, 62]) | {"ema+kd": {}}
    compared = table([row(name) for name in NAMES])
    assert interactions(compared, figures, 0.1) == []
    means = {
        effect.subject: effect.difference.mean for effect in main_effects(compared, figures, 0.1) if effect.difference
    }
    assert means == {"kd": approx(3), "ema": approx(6.5 / 3)}


def test_what_all_rows_join_is_no_factor() -> None:
    rows = [row(name) for name in ("cosine", "cosine+ema", "cosine+kd", "cosine+ema+kd")]
    figures = {one.name: {0: 1.0, 1: 2.0} for one in rows}
    assert {effect.subject for effect in main_effects(table(rows), figures, 0.1)} == {"ema", "kd"}
    assert [set(one.strategies) for one in interactions(table(rows), figures, 0.1)] == [{"ema", "kd"}]


@pytest.mark.parametrize(
    "changed",
    [
        row("ema+kd", name="other", overrides=["strategy.kd.tau=4"]),
        row("ema+kd", name="other", overrides=["optimizer.lr=1"]),
    ],
)
def test_rows_with_other_values_are_no_contrast(changed: Row) -> None:
    rows = [*(row(name) for name in NAMES[:3]), changed]
    figures = {one.name: {0: 1.0, 1: 2.0} for one in rows}
    assert interactions(table(rows), figures, 0.1) == []


def test_a_value_that_goes_with_its_strategy_everywhere_is_a_part_of_it() -> None:
    own = {"kd": ["strategy.kd.tau=4"], "ema+kd": ["strategy.kd.tau=4"]}
    rows = [row(name, overrides=own.get(name, [])) for name in NAMES]
    assert len(interactions(table(rows), {one.name: {0: 1.0, 1: 2.0} for one in rows}, 0.1)) == 1


def test_a_set_that_two_rows_have_is_left_out() -> None:
    rows = [*(row(name) for name in NAMES), row("kd", name="kd again")]
    assert interactions(table(rows), {one.name: {0: 1.0, 1: 2.0} for one in rows}, 0.1) == []
