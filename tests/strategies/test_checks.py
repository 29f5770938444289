"""Every knob refuses what it cannot mean, in one line with key, value and what is allowed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.strategies import STRATEGIES, load
from ghostlab.strategies.checks import one_of, within
from ghostlab.strategies.registry import knobs
from ghostlab.testing.settings import TASK

REFUSED = [
    ("droppath.rate", 0.0, "must be within (0, 1)"),
    ("droppath.rate", 1.0, "must be within (0, 1)"),
    ("reparam.branches", 0, "must be a whole number, at least 1"),
    ("reparam.branches", -1, "must be a whole number, at least 1"),
    ("reparam.branches", 2.5, "must be a whole number, at least 1"),
    ("randaugment.magnitude", -1, "must be within [0, 30]"),
    ("randaugment.magnitude", 31, "must be within [0, 30]"),
    ("randaugment.layers", 0, "must be a whole number, at least 1"),
    ("randaugment.std", -0.1, "must be within [0, 30]"),
    ("autoaugment.policy", "orginal", "did you mean 'original'?"),
    ("autoaugment.std", 11, "must be within [0, 10]"),
    ("erasing.probability", 1.1, "must be within (0, 1]"),
    ("erasing.mode", "pixels", "did you mean 'pixel'?"),
    ("smoothing.amount", 1.0, "must be within (0, 1)"),
    ("mixup.alpha", 0.0, "must be within (0, inf)"),
    ("mixup.alpha", math.inf, "must be within (0, inf)"),
    ("cutmix.alpha", -1.0, "must be within (0, inf)"),
    ("kd.alpha", 1.5, "must be within [0, 1]"),
    ("kd.alpha", -0.1, "must be within [0, 1]"),
    ("kd.alpha", math.nan, "must be within [0, 1]"),
    ("kd.alpha", "high", "must be within [0, 1]"),
    ("kd.alpha", True, "must be within [0, 1]"),
    ("kd.tau", 0, "must be within (0, inf)"),
    ("kd.tau", -2.0, "must be within (0, inf)"),
    ("kd.kind", "sotf", "did you mean 'soft'?"),
    ("kd.dkd_target", -1.0, "must be within [0, inf)"),
    ("kd.dkd_others", -1.0, "must be within [0, inf)"),
    ("kd.dist_inter", -1.0, "must be within [0, inf)"),
    ("kd.dist_intra", math.nan, "must be within [0, inf)"),
    ("kd.cache_k", 0, "must be a whole number, at least 1"),
    ("progressive.schedule", "papre", "did you mean 'paper'?"),
    ("progressive.stages", 0, "must be a whole number, at least 1"),
    ("progressive.round_to", 0, "must be a whole number, at least 1"),
    ("progressive.magnitude", 31, "must be within [0, 30]"),
    ("progressive.mixup", -0.1, "must be within [0, inf)"),
    ("progressive.cutmix", -0.1, "must be within [0, inf)"),
    ("cosine.warmup_epochs", -1, "must be within [0, inf)"),
    ("cosine.warmup_factor", 1.5, "must be within [0, 1]"),
    ("cosine.min_factor", 2, "must be within [0, 1]"),
    ("step.epochs", 0, "must be within (0, inf)"),
    ("step.gamma", 1.2, "must be within (0, 1]"),
    ("step.gamma", 0, "must be within (0, 1]"),
    ("step.warmup_epochs", -1, "must be within [0, inf)"),
    ("step.warmup_factor", -0.5, "must be within [0, 1]"),
    ("exponential.epochs", 0, "must be within (0, inf)"),
    ("exponential.gamma", 1.2, "must be within (0, 1]"),
    ("exponential.gamma", 0, "must be within (0, 1]"),
    ("exponential.warmup_epochs", -1, "must be within [0, inf)"),
    ("exponential.warmup_factor", 1.5, "must be within [0, 1]"),
    ("ema.decay", 1.0, "must be within [0, 1)"),
    ("ema.decay", -0.1, "must be within [0, 1)"),
]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_number_refuses_something(name: str) -> None:
    refused = {knob for knob, _, _ in REFUSED}
    numbers = {f"{name}.{knob}" for knob, default in knobs(name).items() if type(default) in (int, float)}
    assert numbers <= refused


@pytest.mark.parametrize(("knob", "value", "allowed"), [param(*case, id=f"{case[0]}={case[1]}") for case in REFUSED])
def test_a_value_that_is_not_allowed_is_refused(knob: str, value: Any, allowed: str) -> None:
    name, _, field = knob.partition(".")
    with pytest.raises(UsageError) as refused:
        load(name)(**{field: value})
    assert str(refused.value).startswith(f"strategy.{knob}={value}: ")
    assert allowed in str(refused.value)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        param("kd.alpha", 0, id="alpha-0"),
        param("kd.alpha", 1, id="alpha-1"),
        param("ema.decay", 0.0, id="decay-0"),
        param("reparam.branches", 1, id="one-branch"),
        param("erasing.probability", 1.0, id="always-erased"),
        param("randaugment.magnitude", 30, id="strongest"),
    ],
)
def test_the_ends_of_what_is_allowed_are_allowed(knob: str, value: Any) -> None:
    name, _, field = knob.partition(".")
    assert getattr(load(name)(**{field: value}), field) == value


@pytest.mark.parametrize("name", ["cosine", "step", "exponential"])
def test_a_warmup_is_at_most_as_long_as_the_run(name: str) -> None:
    load(name)(warmup_epochs=2).lr_factor(TASK)
    with pytest.raises(UsageError) as refused:
        load(name)(warmup_epochs=2.5).lr_factor(TASK)
    message = f"strategy.{name}.warmup_epochs=2.5: must not be longer than the run, 2 epochs"
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("value", "interval", "inside"),
    [
        param(0, "[0, 1]", True, id="closed-low"),
        param(0, "(0, 1]", False, id="open-low"),
        param(1, "[0, 1]", True, id="closed-high"),
        param(1, "[0, 1)", False, id="open-high"),
        param(1e300, "(0, inf)", True, id="large"),
        param(None, "[0, 1]", False, id="null"),
    ],
)
def test_intervals_are_read_as_in_mathematics(value: Any, interval: str, inside: bool) -> None:
    if inside:
        within("key", value, interval)
    else:
        with pytest.raises(UsageError):
            within("key", value, interval)


def test_one_of_names_the_known() -> None:
    one_of("key", "a", ("a", "b"))
    with pytest.raises(UsageError, match="key=z: no choice 'z'; available: a, b"):
        one_of("key", "z", ("a", "b"))
