"""References, and what a comparison is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.studies.plan import (
    Comparison,
    Plan,
    Row,
    compare_rows,
    joined_strategies,
    reference_row,
    with_comparison,
    with_reference,
)
from tests.reports.runs import row, table


def rows(*strategies: str) -> list[Row]:
    return [row(strategy) for strategy in strategies]


def plan(*strategies: str) -> Plan:
    return Plan("add_one", "", Path(), [table(rows(*strategies)), table(rows("baseline", "mixup"))])


def test_recipes_are_taken_apart_and_the_baseline_is_nothing() -> None:
    assert joined_strategies("ghostnetv3") == {"reparam", "kd", "cosine", "ema", "randaugment", "erasing"}
    assert joined_strategies("baseline") == frozenset()
    assert joined_strategies("dropped+kd") == {"dropped", "kd"}


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        param(["kd", "baseline", "ema"], "baseline", id="baseline"),
        param(["cosine+kd", "ema+kd", "cosine+ema+kd", "cosine+ema"], "cosine+ema+kd", id="leave-one-out"),
        param(["ema", "kd", "ema+kd+mixup"], "ema", id="two-missing"),
        param(["cosine+kd", "kd"], "cosine+kd", id="a-pair"),
    ],
)
def test_the_reference_of_a_table_without_a_plan(found: list[str], reference: str) -> None:
    assert reference_row(rows(*found)).name == reference


def test_without_any_sign_the_row_with_most_seeds_is_the_reference() -> None:
    assert reference_row([row("kd", 2), row("ema", 3), row("cosine", 3)]).name == "ema"


@pytest.mark.parametrize(
    ("strategy", "reference", "expected"),
    [
        ("cosine+kd", "cosine", Comparison("cosine+kd", "cosine", "kd")),
        ("kd", "baseline", Comparison("kd", "baseline", "kd")),
        ("cosine", "cosine+kd", Comparison("cosine", "cosine+kd", "kd", removed=True)),
        ("cosine", "kd", Comparison("cosine", "kd", "cosine")),
        ("baseline", "kd", Comparison("baseline", "kd", "kd", removed=True)),
    ],
)
def test_a_comparison_is_about_what_one_row_has_beyond_the_other(
    strategy: str, reference: str, expected: Comparison
) -> None:
    assert compare_rows(row(strategy), row(reference)) == expected


def test_the_values_of_a_row_stay_a_part_of_its_subject() -> None:
    assert compare_rows(row("kd", name="kd tau=4"), row("baseline")).subject == "kd tau=4"


def test_another_reference_is_compared_with_all_others() -> None:
    first, second = with_reference(plan("baseline", "kd", "cosine"), "kd").tables
    assert first.comparisons == [Comparison("baseline", "kd", "kd", removed=True), Comparison("cosine", "kd", "cosine")]
    assert second.comparisons == [Comparison("mixup", "baseline", "mixup")]


def test_a_direct_comparison_is_added_once_where_both_rows_are() -> None:
    once = with_comparison(plan("baseline", "kd", "cosine"), "kd:cosine")
    assert once.tables[0].comparisons[-1] == Comparison("kd", "cosine", "kd")
    assert len(once.tables[0].comparisons) == 3
    assert once.tables[1].comparisons == plan("baseline").tables[1].comparisons
    assert with_comparison(once, "kd:cosine").tables[0].comparisons == once.tables[0].comparisons


def test_a_name_may_hold_a_colon() -> None:
    named = Plan("list", "", Path(), [table([row("baseline"), row("kd", name="kd teacher=timm:resnet18")])])
    found = with_comparison(named, "baseline:kd teacher=timm:resnet18").tables[0].comparisons[-1]
    assert found == Comparison("baseline", "kd teacher=timm:resnet18", "baseline")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("kd", "--compare kd: two rows, as in --compare cosine:step"),
        ("kd:cosin", "--compare cosin: no row 'cosin'; did you mean 'cosine'?"),
        ("kd:kd", "--compare kd:kd: two different rows of the same table"),
        ("kd:mixup", "--compare kd:mixup: two different rows of the same table"),
    ],
)
def test_what_cannot_be_compared_is_refused(pair: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_comparison(plan("baseline", "kd", "cosine"), pair)
    assert str(caught.value).startswith(message)


def test_an_unknown_reference_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"--reference basline: no row 'basline'; did you mean 'baseline'\?"):
        with_reference(plan("baseline", "kd"), "basline")
