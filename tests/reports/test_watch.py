"""Following runs until the last one is finished or failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ghostlab.reports.summarize import summarize
from ghostlab.reports.summary import Report
from ghostlab.reports.write import watch
from ghostlab.studies.plan import Plan
from tests.reports.runs import planned


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The ``refresh`` of every page that is made."""
    made: list[int | None] = []
    module = ModuleType("ghostlab.reports.html.page")
    module.render_page = lambda report, refresh=None: made.append(refresh) or "<html>"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ghostlab.reports.html.page", module)
    return made


def steps(folder: Path, plan: Plan) -> list[Callable[[], object]]:
    """What happens between two looks: nothing, an epoch, an error, the last result."""
    [baseline, kd] = [[folder.parents[1] / place for place in row.runs.values()] for row in plan.tables[0].rows]
    digits = plan.tables[0].rows[1].config_hash
    result = json.dumps({"config_hash": digits, "seed": 0, "top1": 60.0})
    return [
        lambda: None,
        lambda: (kd[0] / "metrics.csv").write_text("epoch,top1\n1,50\n"),
        lambda: (baseline[1] / "error.txt").write_text("out of memory\n"),
        lambda: (kd[0] / "result.json").write_text(result),
    ]


def test_it_writes_whenever_something_changed_and_ends_by_itself(tmp_path: Path, pages: list[int | None]) -> None:
    folder, plan = planned(tmp_path, {"baseline": [50.0, None], "kd": [None]})
    happens, said, slept = iter(steps(folder, plan)), list[str](), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        next(happens)()

    found = watch(lambda: summarize(folder), 7, said.append, sleep)
    assert (found.finished, found.total) == (2, 3)
    assert slept == [7] * 4
    assert [line.split("  ")[1] for line in said] == [
        "1 of 3 runs finished",
        "1 of 3 runs finished",
        "1 of 3 runs finished, 1 failed",
        "2 of 3 runs finished, 1 failed",
    ]
    assert pages == [7, 7, 7, None]
    assert "60.00" in (folder / "table.md").read_text()


def test_what_is_finished_is_not_waited_for(tmp_path: Path, pages: list[int | None]) -> None:
    folder, _ = planned(tmp_path, {"baseline": [50.0], "kd": [51.0]})

    def look() -> Report:
        return summarize(folder)

    assert watch(look, 5, lambda _: None, lambda _: pytest.fail("slept")).finished == 2
    assert pages == [None]
