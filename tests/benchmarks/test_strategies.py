"""What a strategy costs, measured beside the baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest import param

from ghostlab.benchmarks.strategies import Cost
from tests.conftest import Command

SMALL = ["model=timm", "model.name=test_resnet", "data.image_size=8", "data.val_fraction=0.9", "data.batch_size=128"]


def measured(call: Command, tmp_path: Path, *arguments: str) -> list[Cost]:
    done = call("tools/benchmark.py", "strategies", *arguments, *SMALL)
    assert not done.returncode, done.stderr
    assert "written to outputs/benchmarks/strategies.json" in done.stdout
    found = json.loads((tmp_path / "outputs/benchmarks/strategies.json").read_text())
    assert [entry.name for entry in tmp_path.iterdir()] == ["outputs"]
    assert [*(tmp_path / "outputs").iterdir()] == [tmp_path / "outputs/benchmarks"]  # its runs are not kept
    return [Cost(**row) for row in found["rows"]]


def test_a_strategy_that_makes_an_epoch_longer_costs_more(call: Command, tmp_path: Path) -> None:
    branches = ["strategy.reparam.branches=8", "strategy.reparam.online=never"]
    cost, other = measured(call, tmp_path, "--only", "reparam+ema", "smoothing", "--repeats", "3", *branches)
    assert other.strategy == "smoothing" and other.time < cost.time
    assert cost.strategy == "reparam+ema"
    assert len(cost.rounds) == 3
    assert cost.time > 1.2
    assert cost.images_per_second > 0 < cost.memory


def test_all_stages_of_progressive_count(call: Command, tmp_path: Path) -> None:
    [cost] = measured(call, tmp_path, "--only", "progressive", "--repeats", "1")
    assert len(cost.rounds) == 4
    assert min(cost.rounds) <= cost.time <= max(cost.rounds)


def test_rounds_that_disagree_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    from ghostlab.benchmarks.strategies import _show

    _show([Cost("ema", 100, 1.0, [0.9, 1.0, 1.1], 1.0), Cost("kd", 100, 1.0, [0.99, 1.0, 1.01], 1.0)], [])
    told = capsys.readouterr().out
    assert "ema: its rounds are 20% apart; measure again when the machine is idle" in told
    assert "kd: its rounds" not in told


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(["--only", "emma"], "strategy 'emma': no strategy 'emma'; did you mean 'ema'?", id="strategy"),
        param(
            ["trainer.max_epochs=3"],
            "trainer.max_epochs=3: the benchmark sets trainer.max_epochs itself; use",
            id="own",
        ),
        param(["data.workers=2"], "data.workers=2: the benchmark sets data.workers itself; what loads", id="workers"),
        param(
            ["--only", "ema", "strategy.kd.tau=2"],
            "strategy.kd.tau=2: 'kd' is none of the strategies that are measured, ema",
            id="knob",
        ),
        param(["--only", "ema", "data.image_size=-1"], "data.image_size=-1: ", id="value"),
    ],
)
def test_what_cannot_be_measured_is_refused(call: Command, tmp_path: Path, arguments: list[str], line: str) -> None:
    done = call("tools/benchmark.py", "strategies", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
