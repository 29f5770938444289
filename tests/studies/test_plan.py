"""The plan on disk."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ghostlab.errors import UsageError
from ghostlab.studies.plan import Comparison, Plan, Row, Table, keep_plan, read_plan, write_plan
from tests.conftest import ROOT

PLAN = Plan(
    "add_one",
    "python train.py -m experiment=ablation strategy=kd",
    Path("outputs"),
    [
        Table(
            "eurosat  ghostnetv2",
            ["data=eurosat"],
            [
                Row("baseline", "baseline", ["strategy=baseline"], "0123abcd", {0: "a/seed0", 1: "a/seed1"}),
                Row("kd", "kd", ["strategy=kd"], "4567abcd", {0: "b/seed0", 1: "b/seed1"}),
            ],
            [Comparison("kd", "baseline", "kd")],
        )
    ],
)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(Path("outputs/ablation/one"), PLAN)
    read = read_plan(Path("outputs/ablation/one"))
    assert read is not None
    assert read.tables == PLAN.tables
    assert read.outputs.resolve() == Path("outputs").resolve()


def test_the_plan_moves_with_the_folder_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(Path("outputs/ablation/one"), PLAN)
    Path("outputs").rename("elsewhere")
    read = read_plan(tmp_path / "elsewhere/ablation/one")
    assert read is not None
    assert read.outputs.resolve() == tmp_path / "elsewhere"


def test_a_folder_without_a_plan_has_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tables": [{"rows": 3}]}', '{"tables": [3]}'])
def test_a_damaged_plan_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json: not the plan of an ablation"):
        read_plan(tmp_path)


def test_the_same_rows_with_other_seeds_are_the_same_ablation(tmp_path: Path) -> None:
    [table] = PLAN.tables
    rows = [replace(row, runs={2: f"{row.name}/seed2"}) for row in table.rows]
    first = keep_plan(tmp_path, PLAN)
    more = keep_plan(tmp_path, replace(PLAN, tables=[replace(table, rows=rows)]))
    read = read_plan(more)
    assert more == first
    assert read is not None
    assert [list(row.runs) for row in read.tables[0].rows] == [[0, 1, 2], [0, 1, 2]]
    other = keep_plan(tmp_path, replace(PLAN, tables=[replace(table, comparisons=[])]))
    assert other != first


LAUNCH = """
import sys, time
from dataclasses import replace
from pathlib import Path
from ghostlab.studies.plan import keep_plan
from tests.studies.test_plan import PLAN

first, begin, parent = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
[table] = PLAN.tables
time.sleep(max(0, begin - time.time()))
for seed in range(first, first + 40):
    rows = [replace(row, runs={seed: f"{row.name}/seed{seed}"}) for row in table.rows]
    keep_plan(parent, replace(PLAN, tables=[replace(table, rows=rows)]))
"""
"""Plans 40 sweeps of one seed each, from the second ``begin`` on."""


def test_sweeps_that_are_planned_at_once_keep_the_seeds_of_all(tmp_path: Path) -> None:
    begin = str(time.time() + 2)
    started = [
        subprocess.Popen([sys.executable, "-c", LAUNCH, str(first), begin, str(tmp_path)], cwd=ROOT)
        for first in (0, 40)
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    [folder] = tmp_path.iterdir()
    read = read_plan(folder)
    assert read is not None
    assert [list(row.runs) for row in read.tables[0].rows] == [list(range(80))] * 2
