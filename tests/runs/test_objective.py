"""The value of a run in a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest import approx, param

from ghostlab.errors import RunError, UsageError
from ghostlab.runs import compose
from ghostlab.runs.settings import parse, tradeoff
from tests.conftest import Command

RESULT = {"top1": 80.0, "macs_deploy": 800e6}


def test_the_tradeoff_is_that_of_the_papers() -> None:
    assert tradeoff(77.1, 400e6, 400e6) == 77.1
    assert tradeoff(80.0, 800e6, 400e6) == approx(80 * 2**-0.07)
    assert tradeoff(80.0, 800e6, 400e6, exponent=0) == 80


@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        param([], 80.0, id="top1"),
        param(["objective.metric=tradeoff", "objective.macs=800e6"], 80.0, id="at-the-target"),
        param(["objective.metric=tradeoff", "objective.macs=400e6"], 80 * 2**-0.07, id="dear"),
        param(
            ["objective.metric=tradeoff", "objective.macs=400000000", "objective.exponent=-1"], 40.0, id="all-for-cost"
        ),
    ],
)
def test_a_run_is_worth_its_objective(overrides: list[str], value: float) -> None:
    assert parse(compose(overrides)).objective.value(RESULT) == approx(value)


def test_a_result_without_the_figure_is_said() -> None:
    objective = parse(compose(["objective.metric=tradeoff", "objective.macs=400e6"])).objective
    with pytest.raises(RunError, match=r"^objective\.metric=tradeoff: macs_deploy=None in the result"):
        objective.value({"top1": 80.0})


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        param(["objective.metric=top5"], "objective.metric=top5: no choice 'top5'; did you mean 'top1'?", id="metric"),
        param(["objective.metric=tradeoff"], "objective.macs=null: objective.metric=tradeoff needs", id="macs"),
        param(["objective.macs=0"], "objective.macs=0", id="no-macs"),
        param(["objective.exponent=0.07"], "objective.exponent=0.07: must be within [-1, 0]", id="exponent"),
        param(["objective=top1"], "objective=top1: it has keys", id="no-group"),
    ],
)
def test_a_wrong_objective_is_said_in_one_line_before_anything_is_trained(
    call: Command, tmp_path: Path, overrides: list[str], line: str
) -> None:
    with pytest.raises(UsageError) as refused:
        parse(compose(overrides))
    assert str(refused.value).startswith(line)
    done = call("train.py", *overrides)
    assert done.returncode == 2
    assert done.stderr == f"{refused.value}\n"
    assert not list(tmp_path.iterdir())
