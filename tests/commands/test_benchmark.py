"""The benchmark command measures, prints a table and writes JSON; contestants take turns in processes of their own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ghostlab.benchmarks import commands
from ghostlab.benchmarks.contest import Contestant, Setting, contest
from ghostlab.errors import RunError, UsageError
from tests.conftest import Command, run_in


def net(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


def broken() -> nn.Module:
    raise SystemExit(3)


def test_a_larger_model_takes_longer() -> None:
    contestants = [Contestant(str(width), functools.partial(net, width)) for width in (2, 256)]
    found = contest(contestants, Setting(batch=2, image_size=256, device="cpu", threads=1), rounds=3)
    assert found["2"].ratio == found["2"].low == found["2"].high == 1
    assert found["256"].ratio > 1
    assert found["256"].low <= found["256"].ratio <= found["256"].high
    assert found["256"].memory > 2 * 256 * 254**2 * 4 / 2**20  # MiB of the convolution's output


def test_a_process_that_dies_is_named() -> None:
    with pytest.raises(RunError, match="bad: its process ended with exit code"):
        contest([Contestant("bad", broken)], Setting(batch=2, image_size=8, device="cpu", threads=1), rounds=1)


def test_layers_are_measured_and_written(call: Command, tmp_path: Path) -> None:
    small = ("--image-size", "32", "--batch", "2", "--repeats", "1", "--threads", "1")
    done = call("tools/benchmark.py", "reparam", "--only", "layers", *small)
    assert done.returncode == 0, done.stderr
    assert "written to outputs/benchmarks/reparam.json" in done.stdout
    rows = json.loads((tmp_path / "outputs/benchmarks/reparam.json").read_text())["layers"]
    assert sum(row["sites"] for row in rows) == 68
    assert all(row["plain_ms"] > 0 and row["branches"] > 0 and row["online"] > 0 for row in rows)
    assert {row["path"] for row in rows} <= {"online", "branches"}


def test_steps_are_measured_with_and_without_own_kernels(call: Command, tmp_path: Path) -> None:
    small = ("--only", "ghostnetv2:width=0.1", "--image-size", "32", "--batch", "2", "--repeats", "1")
    done = call("tools/benchmark.py", "step", *small)
    assert done.returncode == 0, done.stderr
    assert "written to outputs/benchmarks/step.json" in done.stdout
    [row] = json.loads((tmp_path / "outputs/benchmarks/step.json").read_text())["rows"]
    assert (row["model"], row["image_size"], row["batch"]) == ("ghostnetv2:width=0.1", 32, 2)
    assert row["PyTorch"]["ratio"] == 1 and row["kernels"]["ratio"] > 0 and row["and memory kept"]["ratio"] > 0


def test_a_model_without_a_size_of_its_own_needs_one(call: Command) -> None:
    done = call("tools/benchmark.py", "step", "--only", "resnet10t")
    assert done.returncode == 2 and "--only resnet10t: others than ghostnetv2:width=0.35" in done.stderr


@pytest.fixture
def _forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are forked from a process that has imported all, as those of ``command`` are."""

    def run(line: list[str], **_: bool) -> subprocess.CompletedProcess[str]:
        assert line[:3] == [sys.executable, "-m", "ghostlab"]
        return run_in(tmp_path, "ghostlab/__main__.py", *line[3:])

    monkeypatch.setattr(commands, "subprocess", SimpleNamespace(run=run))


@pytest.mark.usefixtures("_forked")
def test_a_teacher_is_measured_live_and_cached(call: Command, tmp_path: Path) -> None:
    small = ["model=timm", "model.name=test_resnet", "data.image_size=16", "trainer.max_epochs=2"]
    small += ["data.val_fraction=0.8", "data.batch_size=128"]
    teacher = ["data.teacher.model=timm"]
    teacher += ["data.teacher.overrides=['model.name=test_efficientnet','trainer.max_epochs=1']"]
    overrides = [*small, *teacher, "strategy.kd.kind=dist"]
    done = call("tools/benchmark.py", "distill", "--repeats", "1", *overrides)
    assert done.returncode == 0, done.stderr
    assert "written to outputs/benchmarks/distill.json" in done.stdout
    found = json.loads((tmp_path / "outputs/benchmarks/distill.json").read_text())
    rows = {row["way"]: row for row in found["rows"]}
    assert list(rows) == ["no teacher", "live teacher", "cached teacher"]
    assert rows["no teacher"]["ratios"] == [1]
    assert all(row["images_per_second"] > 0 and row["top1"] > 0 for row in rows.values())
    assert found["build_seconds"] > 0
    assert found["overrides"] == overrides


def test_latency_is_measured_and_written(call: Command, tmp_path: Path) -> None:
    small = ["--repeats", "2", "--batch", "1", "2", "--image-size", "32"]
    done = call("tools/benchmark.py", "latency", "ghostnetv2:width=0.1", *small)
    assert done.returncode == 0, done.stderr
    assert "written to outputs/benchmarks/latency.json and outputs/benchmarks/latency.png" in done.stdout
    assert "ghostnetv2:width=0.1 │ lean │ 32 │" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    found = json.loads((tmp_path / "outputs/benchmarks/latency.json").read_text())
    assert found["conditions"] == {"batches": [1, 2], "threads": [1], "rounds": 2}
    rows = [(row["name"], row["runtime"], row["threads"], row["top1"]) for row in found["rows"]]
    assert rows == [("ghostnetv2:width=0.1", "eager", 1, None)]
    assert all(row["load"] > 0 < row["first_call"] for row in found["rows"])
    times = found["rows"][0]["times"]
    assert [one["batch"] for one in times] == [1, 2]
    assert all(len(one["seconds"]) == 2 and min(one["seconds"]) > 0 for one in times)
    assert (tmp_path / "outputs/benchmarks/latency.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["test_resnet", "--threads", "two"], "--threads two: numbers from 1, or all"),
        (["test_resnet", "--threads", "1", "0"], "--threads 0: must be at least 1"),
        (["test_resnet", "--runtime", "eagre"], "--runtime eagre: no runtime 'eagre'; did you mean 'eager'?"),
        (["test_resnet", "--accuracy"], "--accuracy: top-1 is known of finished runs"),
        (["none.onnx"], "'none.onnx': no such file"),
    ],
)
def test_a_wrong_contest_is_refused(call: Command, tmp_path: Path, arguments: list[str], line: str) -> None:
    done = call("tools/benchmark.py", "latency", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_is_said_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("tools/benchmark.py", "distill", "model=ghostnetv9")
    assert done.returncode == 1
    assert done.stderr.startswith("ghostlab train strategy=kd model=ghostnetv9 ")
    assert "model=ghostnetv9: no model 'ghostnetv9'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_measurement_is_refused(command: Command, tmp_path: Path) -> None:
    done = command("tools/benchmark.py", "reparm")
    assert done.returncode == 2
    assert "invalid choice: 'reparm'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["strategies", "reparam", "distill", "latency"])
def test_no_rounds_are_refused(command: Command, tmp_path: Path, what: str) -> None:
    done = command("tools/benchmark.py", what, "--repeats", "0")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--repeats 0: must be at least 1\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "value"), [("batch", 0), ("image_size", -1), ("threads", 0), ("steps", 0)])
def test_a_setting_that_cannot_be_is_refused(option: str, value: int) -> None:
    given = {"batch": 2, "image_size": 8, "device": "cpu", "threads": 1, option: value}
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} {value}: must be at least 1"):
        Setting(**given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_missing_gpu_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match="--device cuda: there is no CUDA device here"):
        Setting(batch=2, image_size=8, device="cuda", threads=1)
