"""From the command to the last step, one object holds a run's settings."""

from __future__ import annotations

from collections import Counter

import pytest

from ghostlab.runs.settings import Settings
from tests.conftest import Command
from tests.training.test_run import QUICK

TAUGHT = ("strategy=kd", "data.teacher.overrides=['trainer.max_epochs=1']")


@pytest.mark.parametrize(
    ("line", "times"),
    [
        pytest.param(QUICK, 1, id="run"),
        pytest.param([*QUICK, *TAUGHT], 2, id="student-and-teacher"),
        pytest.param(["-m", *QUICK, "seed=0,1"], 4, id="sweep: when planned, and when trained"),
    ],
)
def test_a_configuration_is_parsed_once(
    line: list[str], times: int, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: Counter[str] = Counter()
    build = Settings.__init__

    def counted(self: Settings, *arguments: object, **values: object) -> None:
        parsed["settings"] += 1
        build(self, *arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(Settings, "__init__", counted)
    done = call("train.py", *line)
    assert not done.returncode, done.stderr
    assert parsed["settings"] == times
