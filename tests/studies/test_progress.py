"""How far a sweep is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostlab.runs.run import Run
from ghostlab.studies.worker import Progress


def finish(folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"top1": 50.0, "macs_deploy": 1e6, "seconds": seconds}))


def test_the_time_left_comes_from_runs_of_the_same_strategy_where_there_are_any(tmp_path: Path) -> None:
    every = [tmp_path / strategy / f"seed{seed}" for seed in (0, 1) for strategy in ("baseline", "kd", "ema")]
    assert Progress(every, every).seconds_left() is None
    finish(every[0], 10)
    finish(every[1], 30)
    assert Progress(every, every).left == every[2:]
    assert Progress(every, every).seconds_left() == 20 + 10 + 30 + 20
    assert Progress(every, every, parallel=2).seconds_left() == pytest.approx(40)


def test_a_run_is_finished_with_its_result_and_failed_with_its_error(tmp_path: Path) -> None:
    assert Run(tmp_path).result() is None
    assert Run(tmp_path).failure() is None
    (tmp_path / "result.json").write_text('{"seconds": 1')
    (tmp_path / "error.txt").write_text("out of memory\n\nTraceback")
    assert Run(tmp_path).result() is None
    assert Run(tmp_path).failure() == "out of memory"
