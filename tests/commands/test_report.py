"""tools/report.py on real runs, on half of them, and on nothing."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from ghostlab.benchmarks import timing
from ghostlab.benchmarks.deployables import Deployable
from ghostlab.benchmarks.timing import Conditions, Times, TimingRow
from ghostlab.cli import report
from ghostlab.reports.summary import Report
from ghostlab.reports.write import watch
from tests.commands.test_sweep import QUICK
from tests.conftest import Command
from tests.reports.runs import planned

TOP1: dict[str, list[float | None]] = {
    "baseline": [50.0, 51.0, 52.0],
    "kd": [60.1, 61.0, 61.9],
    "ema": [50.4, 50.7, None],
}


def test_the_runs_of_a_sweep_are_reported(call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = call("train.py", "-m", "strategy=baseline,ema", "seed=0", *QUICK)
    assert sweep.returncode == 0, sweep.stderr
    done = call("tools/report.py", "outputs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits  test_resnet" in done.stdout
    assert done.stdout.rstrip().endswith("report: outputs/report.html")
    rows = list(csv.DictReader((tmp_path / "outputs/table.csv").open()))
    assert [(row["strategy"], row["finished"], row["pairs"]) for row in rows] == [
        ("baseline", "1", ""),
        ("ema", "1", "1"),
    ]
    assert rows[0]["time_ratio"] == "1.0"
    assert "ema" in (tmp_path / "outputs/table.md").read_text()
    assert (tmp_path / "outputs/report.html").read_text().lower().startswith("<!doctype html")
    monkeypatch.setattr(timing, "measure", prepared)
    measured = call("tools/report.py", "outputs", "--latency", "--reference", "ema")
    assert measured.returncode == 0, measured.stderr
    rows = list(csv.DictReader((tmp_path / "outputs/table.csv").open()))
    assert rows[0]["against"] == "ema"
    assert {row["latency_ms"] for row in rows} == {rows[0]["params_deploy"]}


def prepared(contestants: Sequence[Deployable], conditions: Conditions) -> list[TimingRow]:
    """Opens the networks in this process, and takes their parameters for milliseconds."""
    ready = [one.prepare() for one in contestants]
    times = [Times(1, [], 0, float(one.params) / 1e3, 0, 0, 1, 1, 1) for one in ready]
    return [
        TimingRow(one.name, "eager", 1, "", 1, 1, 1, 0, 0, [own]) for one, own in zip(contestants, times, strict=True)
    ]


def test_half_of_a_sweep_is_reported_with_what_is_missing(call: Command, tmp_path: Path) -> None:
    planned(tmp_path, TOP1)
    done = call("tools/report.py", "ablation/one", "--compare", "kd:ema")
    assert (done.returncode, done.stderr) == (0, "")
    assert "helps" in done.stdout
    assert "kd against ema" in done.stdout
    assert "Missing: ema, seed 2." in done.stdout
    assert "latency is not measured: python tools/report.py ablation/one --latency" in done.stdout


def test_a_finished_sweep_is_not_watched_for_long(call: Command, tmp_path: Path) -> None:
    planned(tmp_path, {"baseline": [50.0], "kd": [51.0]})
    done = call("tools/report.py", "ablation/one", "--watch")
    assert done.returncode == 0
    assert "2 of 2 runs finished" in done.stdout


def test_watching_can_be_left(call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(tmp_path, TOP1)

    def interrupted(*given: Any) -> Report:
        Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return watch(*given)

    monkeypatch.setattr(report, "watch", interrupted)
    done = call("tools/report.py", "ablation/one", "--watch", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "report: ablation/one/report.html" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 2, "nowhere: no such folder; give one with run folders below it, such as outputs/digits"),
        (["."], 2, ".: no runs below it"),
        (
            ["ablation/one", "--reference", "basline"],
            2,
            "--reference basline: no row 'basline'; did you mean 'baseline'?",
        ),
        (["ablation/one", "--compare", "kd"], 2, "--compare kd: two rows, as in --compare cosine:step"),
        (["ablation/one", "--watch", "0"], 2, "--watch 0: seconds, at least 1"),
        (["ablation/one", "--latency"], 1, "ablation/one: no finished run here has a checkpoint to measure"),
    ],
)
def test_a_mistake_is_one_line(call: Command, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    if arguments[0] != ".":
        planned(tmp_path, TOP1)
    done = call("tools/report.py", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
