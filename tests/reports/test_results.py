"""Runs on disk: states, damaged files, and what is not the run that is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from pytest import param

from ghostlab.reports.results import metric, read_runs, top1_by_seed
from ghostlab.reports.summary import RunRecord
from ghostlab.runs import config_hash
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.run import Run
from ghostlab.studies.plan import Row
from tests.reports.runs import config, planned

OTHER_SEED = json.dumps(
    {"config_hash": config_hash(config("baseline")), "config_schema": SCHEMA, "seed": 1, "top1": 99}
)


def only(folder: Path, row: Row | None = None) -> tuple[RunRecord, list[str]]:
    """The run of the table's first row, and the notes."""
    _, plan = planned(folder, {"baseline": [50.0], "kd": [51.0]})
    [run], notes = read_runs(plan.outputs, plan.tables[0], row or plan.tables[0].rows[0])
    return run, notes


def reread(run: RunRecord, folder: Path) -> tuple[RunRecord, list[str]]:
    row = Row("baseline", "baseline", ["strategy=baseline"], run.result["config_hash"], {0: run.folder.name})  # type: ignore[index]
    [again], notes = read_runs(run.folder.parent, planned(folder / "other", {"kd": [1.0]})[1].tables[0], row)
    return again, notes


def test_a_finished_run_has_its_figures_history_and_command(tmp_path: Path) -> None:
    run, _ = only(tmp_path)
    (run.folder / "metrics.csv").write_text("epoch,loss,top1,top1_ema\n1,2.5,12.5,\n2,nan,13,14\n,1,2,3\n3\n")
    run, notes = reread(run, tmp_path)
    assert (run.state, metric(run, "top1"), metric(run, "seconds"), notes) == ("finished", 50, 10, [])
    assert run.history == [
        {"epoch": 1, "loss": 2.5, "top1": 12.5},
        {"epoch": 2, "top1": 13, "top1_ema": 14},
        {"epoch": 3},
    ]
    assert run.command == "python train.py data=digits strategy=baseline seed=0"


def test_the_command_is_quoted_for_a_shell(tmp_path: Path) -> None:
    _, plan = planned(tmp_path, {"kd": [50.0]})
    row = Row("kd", "kd", ["strategy.kd.stages=[2, -1]", "strategy.kd.teacher='a b'"], "", {0: "nowhere"})
    [run], _ = read_runs(plan.outputs, plan.tables[0], row)
    assert run.command == (
        "python train.py data=digits 'strategy.kd.stages=[2, -1]' 'strategy.kd.teacher='\"'\"'a b'\"'\"'' seed=0"
    )
    assert run.state == "missing"


def test_a_failed_run_has_the_first_line_of_its_error(tmp_path: Path) -> None:
    run, _ = only(tmp_path)
    (run.folder / "result.json").unlink()
    (run.folder / "error.txt").write_text("loss is not finite\n\nTraceback\n")
    again, _ = reread(run, tmp_path)
    assert (again.state, again.error) == ("failed", "loss is not finite")
    (run.folder / "error.txt").write_text("")
    assert reread(run, tmp_path / "more")[0].error == "no reason given"


def test_a_run_whose_lock_is_held_is_running(tmp_path: Path) -> None:
    run, _ = only(tmp_path)
    (run.folder / "result.json").unlink()
    (run.folder / "error.txt").write_text("of the last time\n")
    with FileLock(run.folder / ".lock"):
        assert reread(run, tmp_path)[0].state == "running"
    assert reread(run, tmp_path / "more")[0].state == "failed"


def test_looking_leaves_no_lock_behind(tmp_path: Path) -> None:
    run, _ = only(tmp_path)
    (run.folder / "result.json").unlink()
    assert reread(run, tmp_path)[0].state == "missing"
    assert not list(tmp_path.rglob(".lock"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        param("{", "result.json cannot be read (JSONDecodeError)", id="cut-off"),
        param("[1]", "result.json is not that of a run", id="list"),
        param("\udcff", "result.json cannot be read (UnicodeDecodeError)", id="no-text"),
        param(
            '{"config_hash": "ffffffff", "config_schema": 2, "seed": 0, "top1": 99}',
            "its folder holds another configuration",
            id="hash",
        ),
        param(OTHER_SEED, "its folder holds another configuration", id="seed"),
    ],
)
def test_what_is_no_result_of_the_run_is_named_and_not_counted(tmp_path: Path, content: str, said: str) -> None:
    run, _ = only(tmp_path)
    (run.folder / "result.json").write_text(content, errors="surrogateescape")
    again, notes = reread(run, tmp_path)
    assert (again.state, again.result) == ("missing", None)
    assert notes == [f"baseline, seed 0: {said}, not counted ({run.folder.name})"]


def test_the_hash_of_an_earlier_version_is_that_of_the_configuration(tmp_path: Path) -> None:
    run, _ = only(tmp_path)
    result = {**(run.result or {}), "config_hash": "of-old"}
    (run.folder / "result.json").write_text(json.dumps(result))
    row = Row("baseline", "baseline", [], config_hash(config("baseline")), {0: run.folder.name})
    again, notes = read_runs(run.folder.parent, planned(tmp_path / "other", {"kd": [1.0]})[1].tables[0], row)
    assert (again[0].state, notes) == ("finished", [])
    (run.folder / "config.yaml").write_text(yaml.safe_dump(config("kd")))
    again, notes = read_runs(run.folder.parent, planned(tmp_path / "more", {"kd": [1.0]})[1].tables[0], row)
    assert (again[0].state, len(notes)) == ("missing", 1)


@pytest.mark.parametrize(("key", "name"), [("top1", "top-1"), ("loss", "loss")])
@pytest.mark.parametrize("value", [None, float("nan"), "50", True])
def test_a_result_that_is_no_number_is_named_and_no_seed(tmp_path: Path, key: str, name: str, value: Any) -> None:
    run, _ = only(tmp_path)
    (run.folder / "result.json").write_text(json.dumps({**run.result, key: value}))  # type: ignore[dict-item]
    again, notes = reread(run, tmp_path)
    assert (again.state, again.error, notes) == ("failed", f"its {name} is {value}", [])
    assert top1_by_seed([again]) == {}


@pytest.mark.parametrize(
    "text", ["", "[", "- 1", "model: 3", "a: &a [*a]", "strategy: {}\nmodel: {name: x}\ndata: {name: y}\nseed: 0"]
)
def test_a_damaged_configuration_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert Run(tmp_path).find_config() is None
    assert Run(tmp_path / "nowhere").find_config() is None
