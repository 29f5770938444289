"""What a study chooses from, and which of its trials are tried out before the first one."""

from __future__ import annotations

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.studies.tuning.space import end_trials, search_space

RATE = "optimizer.lr=interval(0.001,0.1)"
AMOUNT = "strategy.smoothing.amount=interval(0.05,0.3)"


def test_the_command_line_counts_more_than_the_file() -> None:
    assert search_space([RATE, "strategy=kd"], ["optimizer.lr=0.5", "seed=1"]) == [
        "optimizer.lr=0.5",
        "strategy=kd",
        "seed=1",
    ]


def test_values_of_strategies_that_no_trial_joins_are_left_out_when_they_are_the_files() -> None:
    assert search_space([RATE, AMOUNT], ["strategy=ema"]) == [RATE, "strategy=ema"]
    assert search_space([RATE, AMOUNT], ["strategy=ema,ema+smoothing"]) == [RATE, AMOUNT, "strategy=ema,ema+smoothing"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        param("strategy.kd.alpha=interval(0.1,0.9)", "no trial of this study joins 'kd'", id="not-joined"),
        param("strategy.kdd.alpha=0.5", "no trial of this study joins 'kdd'; did you mean 'kd'?", id="mistyped"),
        param("strategy.kd.teacher=choice([a],[b])", "among numbers, names, true, false and null only", id="lists"),
        param("model=glob(ghost*)", "a study needs a choice, a range or an interval", id="glob"),
    ],
)
def test_what_cannot_be_chosen_is_refused_on_the_command_line(override: str, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        search_space([], ["strategy=smoothing", override])
    assert str(refused.value).startswith(f"{override}: ")
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        param("choice(0.3)", "0.3", id="one"),
        param("null,null", "null", id="null"),
        param("choice([a,b])", "[a,b]", id="list"),
    ],
)
def test_a_choice_of_one_is_no_choice(written: str, value: str) -> None:
    assert search_space([], ["strategy=kd", f"strategy.kd.teacher={written}"])[1] == f"strategy.kd.teacher={value}"


def test_every_choice_and_both_ends_of_every_range_are_tried_once() -> None:
    found = end_trials(
        ["optimizer.lr=tag(log, interval(0.001, 0.1))", "seed=range(0,3)", "optimizer=adamw,sgd", "resume=never"]
    )
    base = {"optimizer.lr": "0.001", "seed": "0", "optimizer": "adamw", "resume": "never"}
    changed = [{}, {"optimizer.lr": "0.1"}, {"seed": "1"}, {"seed": "2"}, {"optimizer": "sgd"}]
    assert [set(trial) for trial in found] == [{f"{k}={v}" for k, v in {**base, **one}.items()} for one in changed]


def test_ends_of_a_strategy_are_tried_where_it_is_joined() -> None:
    assert end_trials(["strategy=ema,ema+smoothing", AMOUNT]) == [
        ("strategy=ema",),
        ("strategy=ema+smoothing", "strategy.smoothing.amount=0.05"),
        ("strategy=ema+smoothing", "strategy.smoothing.amount=0.3"),
    ]
