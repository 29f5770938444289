"""What holds for every strategy of the canonical table in whole runs: killed and resumed, and in two processes."""

from __future__ import annotations

import pytest
from pytest import param

from ghostlab.strategies import STRATEGIES
from ghostlab.testing import SmallRuns, check_killed, check_two_processes
from ghostlab.testing.runs import GROUPS

CASES = [param(text, settings, id=text) for text, settings in GROUPS]


def test_every_strategy_is_among_them() -> None:
    assert {name for text, _ in GROUPS for name in text.split("+")} == {*STRATEGIES} - {"baseline"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SmallRuns:
    return SmallRuns(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("text", "settings"), CASES)
def test_killed_within_an_epoch_it_ends_with_the_same_weights(text: str, settings: dict, runs: SmallRuns) -> None:
    check_killed(text, settings, runs)


@pytest.mark.parametrize(("text", "settings"), CASES)
def test_in_two_processes_all_weights_are_equal_and_figures_are_theirs(
    text: str, settings: dict, runs: SmallRuns
) -> None:
    check_two_processes(text, settings, runs)
