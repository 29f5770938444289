"""The runs of a sweep: values of strategies count for the runs that join them, and every run is made once."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.studies.jobs import Composer, defer_knob

KINDS = ["strategy.kd.kind=soft", "strategy.kd.kind=dkd"]


def sweep(*choices: list[str]) -> list[tuple[str, ...]]:
    return [job.overrides for job in Composer().distinct({str(place): values for place, values in enumerate(choices)})]


def test_a_value_is_left_out_where_its_strategy_is_not_joined() -> None:
    assert sweep(["strategy=baseline", "strategy=kd"], KINDS) == [
        ("strategy=baseline",),
        ("strategy=kd", "strategy.kd.kind=soft"),
        ("strategy=kd", "strategy.kd.kind=dkd"),
    ]


def test_every_strategy_has_its_own_values() -> None:
    runs = sweep(
        ["strategy=ema", "strategy=kd", "strategy=kd+ema"], KINDS, ["strategy.ema.decay=0.9"], ["seed=0", "seed=1"]
    )
    assert len(runs) == 2 * (1 + 2 + 2)
    assert ("strategy=ema", "strategy.ema.decay=0.9", "seed=1") in runs
    assert ("strategy=kd", "strategy.kd.kind=dkd", "seed=0") in runs


@pytest.mark.parametrize(
    ("choices", "count"),
    [
        param([["strategy=ghostnetv3"], KINDS], 2, id="recipe"),
        param([["strategy=kd+ema", "strategy=ema+kd"]], 1, id="order"),
        param([["seed=0", "seed=0"]], 1, id="twice"),
        param([["strategy=kd"], ["strategy.kd.kind=soft", "strategy.kd.alpha=0.5"]], 1, id="defaults"),
        param([["strategy=kd"], ["seed=0", "seed=1"]], 2, id="seeds"),
        param([["outputs=a", "outputs=b"]], 2, id="outputs"),
    ],
)
def test_runs_of_the_same_folder_are_one(choices: list[list[str]], count: int) -> None:
    assert len(sweep(*choices)) == count


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        param(
            [["strategy=baseline", "strategy=ema"], KINDS],
            "strategy.kd.kind=soft: no run of this sweep joins 'kd'",
            id="kd",
        ),
        param([["strategy=kd"], ["strategy.kdd.alpha=1"]], "joins 'kdd'; did you mean 'kd'?", id="mistyped"),
        param([["seed=0", "seed=1"], ["strategy.kd.alpha=1"]], "joins 'kd'", id="no-strategy-named"),
    ],
)
def test_a_value_that_no_run_uses_is_refused(choices: list[list[str]], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        sweep(*choices)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("typed", "passed_on"),
    [
        param("strategy.kd.alpha=0.3", "strategy.kd.alpha=choice(0.3)", id="number"),
        param("strategy.kd.teacher=[a,b]", "strategy.kd.teacher=choice([a,b])", id="list"),
        param("strategy.kd.teacher=null", "strategy.kd.teacher=null,null", id="null"),
        param("strategy.kd.teacher='a,b'", "strategy.kd.teacher=choice('a,b')", id="quoted"),
        param("strategy.kd.kind=soft,dkd", "strategy.kd.kind=soft,dkd", id="sweep"),
        param("strategy=kd", "strategy=kd", id="strategy"),
        param("seed=0", "seed=0", id="other"),
        param("-m", "-m", id="flag"),
    ],
)
def test_the_value_of_a_strategy_is_set_in_the_runs_only(typed: str, passed_on: str) -> None:
    assert defer_knob(typed) == passed_on
    if passed_on != typed:
        [override] = OverridesParser.create().parse_overrides([passed_on])
        parser = OverridesParser.create()
        values = {str(parser.parse_override(f"x={text}").value()) for text in override.sweep_string_iterator()}
        assert values == {str(parser.parse_override(typed).value())}
