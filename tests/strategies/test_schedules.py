"""The schedules of the learning rate against values worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from pytest import approx, param

from ghostlab.strategies.base import Task
from ghostlab.strategies.cosine import Cosine, cosine_factor
from ghostlab.strategies.exponential import Exponential, exponential_factor
from ghostlab.strategies.step import StepDecay, step_factor

TASK = Task(num_classes=4, image_size=16, mean=(0.5,) * 3, std=(0.2,) * 3, epochs=10, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        param(0, 0.02, id="start-of-warm-up"),
        param(10, 0.51, id="half-of-warm-up"),
        param(20, 1.0, id="end-of-warm-up"),
        param(60, 0.55, id="half-of-cosine"),
        param(40, 0.1 + 0.9 * 0.8535533905932737, id="quarter-of-cosine"),
        param(100, 0.1, id="end"),
        param(101, 0.1, id="after-the-end"),
    ],
)
def test_cosine(step: int, factor: float) -> None:
    assert cosine_factor(step, 100, warmup=20, min_factor=0.1, warmup_factor=0.02) == approx(factor, abs=1e-12)


def test_cosine_is_exact_at_its_ends() -> None:
    assert cosine_factor(0, 100) == 1.0
    assert cosine_factor(20, 100, warmup=20) == 1.0
    assert cosine_factor(100, 100) == 0.0


def test_cosine_has_no_jump() -> None:
    factors = [cosine_factor(step, 1000, warmup=100) for step in range(1001)]
    assert max(abs(b - a) for a, b in pairwise(factors)) < 0.011


def test_the_cosine_strategy_counts_optimizer_steps_over_the_whole_run() -> None:
    factor = Cosine(warmup_epochs=2, warmup_factor=0.02, min_factor=0.1).lr_factor(TASK)
    assert [factor(step) for step in (0, 20, 60, 100)] == approx([0.02, 1.0, 0.55, 0.1])


def test_a_warmup_may_be_a_part_of_an_epoch_or_nothing() -> None:
    assert Cosine(warmup_epochs=0.5).lr_factor(TASK)(5) == 1.0
    assert Cosine(warmup_epochs=0).lr_factor(TASK)(0) == 1.0


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        param(0, 0.02, id="start-of-warm-up"),
        param(25, 0.51, id="half-of-warm-up"),
        param(49, 0.02 + 0.98 * 49 / 50, id="warm-up-without-decay"),
        param(50, 0.97**2, id="drops-in-the-warm-up-at-its-end"),
        param(71, 0.97**2, id="before-a-drop"),
        param(72, 0.97**3, id="drop"),
        param(240, 0.97**10, id="tenth-drop"),
    ],
)
def test_step(step: int, factor: float) -> None:
    assert step_factor(step, 24, 0.97, warmup=50, warmup_factor=0.02) == approx(factor)


@pytest.mark.parametrize(
    ("step", "interval", "drops"),
    [
        param(2, 2.5, 0, id="before-a-fraction"),
        param(3, 2.5, 1, id="after-a-fraction"),
        param(5, 2.5, 2, id="whole-again"),
        param(55, 1.1 * 50, 1, id="rounding-above-the-step"),
    ],
)
def test_an_interval_may_be_a_fraction_of_a_step(step: int, interval: float, drops: int) -> None:
    assert step_factor(step, interval, 0.5) == 0.5**drops


def test_the_step_strategy_counts_from_the_start_of_training() -> None:
    factor = StepDecay(epochs=2.4, gamma=0.97, warmup_epochs=3).lr_factor(TASK)
    assert [factor(step) for step in (30, 47, 48, 99)] == approx([0.97, 0.97, 0.97**2, 0.97**4])


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        param(0, 0.02, id="start-of-warm-up"),
        param(25, 0.51, id="half-of-warm-up"),
        param(49, 0.02 + 0.98 * 49 / 50, id="warm-up-without-decay"),
        param(50, 0.25 ** (50 / 24), id="decay-in-the-warm-up-at-its-end"),
        param(60, 1 / 32, id="between-two-drops-of-a-staircase"),
        param(72, 0.25**3, id="three-intervals"),
    ],
)
def test_exponential(step: int, factor: float) -> None:
    assert exponential_factor(step, 24, 0.25, warmup=50, warmup_factor=0.02) == approx(factor)


def test_exponential_decays_by_the_same_factor_at_every_step_and_meets_the_staircase_at_its_drops() -> None:
    smooth = [exponential_factor(step, 24, 0.97) for step in range(241)]
    assert smooth[0] == 1.0
    assert [b / a for a, b in pairwise(smooth)] == approx([0.97 ** (1 / 24)] * 240)
    assert smooth[::24] == approx([step_factor(step, 24, 0.97) for step in range(0, 241, 24)])


def test_the_exponential_strategy_counts_from_the_start_of_training() -> None:
    factor = Exponential(epochs=2.5, gamma=0.5, warmup_epochs=3, warmup_factor=0).lr_factor(TASK)
    assert [factor(step) for step in (0, 15, 30, 50, 75, 100)] == approx([0, 0.5, 0.5**1.2, 0.25, 0.125, 0.0625])
