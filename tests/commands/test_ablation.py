"""An ablation through the command: its plan, what is left out, what goes on after a failure, and two at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from pytest import param

from ghostlab.studies.plan import read_plan
from tests.commands.test_sweep import QUICK
from tests.conftest import Command

ABLATION = ["-m", "experiment=ablation", "seed=0,1", *QUICK]


def test_the_plan_comes_first_and_grows_with_the_seeds(call: Command, tmp_path: Path) -> None:
    done = call("train.py", *ABLATION, "strategy=ema", "seed=0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plan: 2 rows x 1 seeds = 2 runs; 0 finished, 2 to do\n  digits  test_resnet\n")
    assert "run 2/2  strategy=ema  left " in done.stdout
    [folder] = (tmp_path / "outputs/ablation").iterdir()
    assert done.stdout.endswith(f"what it says: python tools/report.py {folder.relative_to(tmp_path)}\n")
    more = call("train.py", *ABLATION, "strategy=ema")
    assert more.stdout.startswith("plan: 2 rows x 2 seeds = 4 runs; 2 finished, 2 to do, about ")
    assert len(list(tmp_path.rglob("result.json"))) == 4
    plan = read_plan(folder)
    assert plan is not None
    assert [list(row.runs) for row in plan.tables[0].rows] == [[0, 1]] * 2
    for row in plan.tables[0].rows:
        for run in row.runs.values():
            result = json.loads((plan.outputs / run / "result.json").read_text())
            assert (result["strategy"], result["config_hash"]) == (row.strategy, row.config_hash)


def test_a_run_that_fails_is_named_at_the_end_and_tried_again(call: Command, tmp_path: Path) -> None:
    rows = "ablation.rows={bad:['optimizer.lr=1e30'],good:['optimizer.lr=0.01']}"
    sweep = ["-m", "ablation=list", rows, "optimizer=sgd", *QUICK]
    done = call("train.py", *sweep)
    assert done.returncode == 1
    assert "1 of 2 runs failed; the same command tries them again: [outputs/digits/" in done.stderr
    assert done.stderr.count("\n") == 1
    [error] = tmp_path.rglob("error.txt")
    assert "loss term" in error.read_text().splitlines()[0]
    assert "python train.py" in error.read_text()
    assert "Traceback" in error.read_text()
    assert not (error.parent / "result.json").exists()
    [result] = tmp_path.rglob("result.json")
    again = call("train.py", *sweep)
    assert again.returncode == 1
    assert "1 finished, 1 to do" in again.stdout
    assert result.exists()


def test_a_run_of_another_sweep_is_left_to_it_and_waited_for(command: Command, call: Command, tmp_path: Path) -> None:
    planned = call("train.py", *ABLATION, "seed=0", "strategy=ema", "trainer.max_epochs=2", "force=flase")
    assert planned.returncode == 2
    assert not list(tmp_path.iterdir())
    folder = tmp_path / "outputs/digits/test_resnet/ema"
    with ThreadPoolExecutor() as beside:
        first = beside.submit(command, "train.py", *ABLATION, "strategy=ema", "seed=0")
        done = call("train.py", *ABLATION, "strategy=ema", "seed=0")
    assert done.returncode == first.result().returncode == 0, done.stderr
    assert sum(file.read_text().count("epoch 1/1") for file in tmp_path.rglob("log.txt")) == 2
    assert len(list(tmp_path.rglob("result.json"))) == 2
    assert len(list(folder.iterdir())) == 1


def test_a_run_that_another_process_holds_is_not_prepared(call: Command, tmp_path: Path) -> None:
    arguments = ["strategy=ema", *QUICK]
    assert call("train.py", *arguments, "optimizer.lr=1e30", "optimizer=sgd").returncode == 1
    [folder] = tmp_path.glob("outputs/digits/test_resnet/ema/seed*")
    with FileLock(folder / ".lock"):
        done = call("train.py", *arguments, "optimizer.lr=1e30", "optimizer=sgd")
    assert done.returncode == 1
    assert "is being trained by another process" in done.stderr
    assert "ghostlab  test_resnet" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(["experiment=ablation", "strategy=kd"], "an ablation is a sweep, python train.py -m", id="no-sweep"),
        param(["-m", "experiment=ablation"], "an ablation needs strategies", id="nothing-to-ablate"),
        param(["-m", "ablation=add_two"], "no ablation 'add_two'; did you mean 'add_one'?", id="design"),
        param(["-m", "ablation=add_one", "ablation.bas=kd"], "no key 'bas'; did you mean 'base'?", id="key"),
        param(["-m", "ablation=add_one", "strategy=kd,kdd"], "no strategy 'kdd'; did you mean 'kd'?", id="strategy"),
    ],
)
def test_a_mistake_is_found_before_the_first_run(
    call: Command, tmp_path: Path, arguments: list[str], line: str
) -> None:
    done = call("train.py", *arguments)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("seed*"))
    assert not list(tmp_path.rglob("plan.json"))
