"""A sweep through the command: every combination, each in its own folder, finished ones not repeated."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ghostlab.models import create_model
from tests.conftest import Command

QUICK = [
    *("model=timm", "model.name=test_resnet", "data.image_size=8", "data.val_fraction=0.8", "data.batch_size=128"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu"),
]
SWEEP = ["-m", "strategy=baseline,ema+reparam", "seed=0,1", *QUICK]


def test_a_sweep_runs_every_combination_once(command: Command, call: Command, tmp_path: Path) -> None:
    done = command("train.py", *SWEEP)
    assert done.returncode == 0, done.stderr
    results = {file.parent: json.loads(file.read_text()) for file in tmp_path.rglob("result.json")}
    ran = {(result["strategy"], result["seed"]) for result in results.values()}
    assert ran == {(name, seed) for name in ("baseline", "ema+reparam") for seed in (0, 1)}
    for folder, result in results.items():
        assert folder.parts[-4:-1] == ("digits", "test_resnet", result["strategy"])
        assert folder.name.startswith(f"seed{result['seed']}-")
    again = call("train.py", *SWEEP)
    assert "plan: 4 runs; 4 finished, 0 to do" in again.stdout


def test_a_run_that_fails_does_not_stop_the_others(call: Command, tmp_path: Path) -> None:
    done = call("train.py", "-m", "optimizer=sgd", "optimizer.lr=1e30,0.01", *QUICK)
    assert done.returncode == 1
    assert "loss term" in done.stderr
    assert done.stderr.count("\n") == 1
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["status"] == "finished"


def test_the_kinds_of_a_strategy_are_swept_beside_a_run_without_it(call: Command, tmp_path: Path) -> None:
    torch.save(create_model("test_resnet", num_classes=10).state_dict(), tmp_path / "t.pth")
    kd = ["strategy.kd.teacher=t.pth", "strategy.kd.teacher_model=test_resnet"]
    kd += ["strategy.kd.kind=soft,dist", "strategy.kd.cache=true"]
    done = call("train.py", "-m", "strategy=baseline,kd", *kd, *QUICK)
    assert done.returncode == 0, done.stderr
    results = [json.loads(file.read_text()) for file in (tmp_path / "outputs").rglob("result.json")]
    assert sorted(result["strategy"] for result in results) == ["baseline", "kd", "kd"]
    assert "plan: 3 runs; 0 finished, 3 to do" in done.stdout
    assert len(list(tmp_path.rglob("cache.json"))) == 1
    kinds = [(file.parent / "config.yaml").read_text() for file in (tmp_path / "outputs").rglob("kd/**/result.json")]
    assert sorted(kind for kind in ("soft", "dist") for text in kinds if f"kind: {kind}" in text) == ["dist", "soft"]


def test_a_teacher_that_is_not_there_is_said_before_the_first_run(call: Command, tmp_path: Path) -> None:
    done = call("train.py", "-m", "strategy=baseline,kd", "strategy.kd.teacher=gone.pth", *QUICK)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "strategy.kd.teacher=gone.pth: neither a file nor a folder nor a model of timm\n"
    assert not [*tmp_path.iterdir()]
