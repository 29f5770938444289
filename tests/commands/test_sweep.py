"""A sweep through the real command: every combination, each in its own folder, finished ones not repeated."""

from __future__ import annotations

import json
from pathlib import Path

SWEEP = [
    *("-m", "strategy=baseline,ema,ema+reparam", "seed=0,1"),
    *("model.width=0.1", "data.image_size=16", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
]


def test_a_sweep_runs_every_combination_once(command, tmp_path: Path) -> None:
    done = command("train.py", *SWEEP, timeout=600)
    assert done.returncode == 0, done.stderr
    results = {file.parent: json.loads(file.read_text()) for file in tmp_path.rglob("result.json")}
    ran = {(result["strategy"], result["seed"]) for result in results.values()}
    assert ran == {(name, seed) for name in ("baseline", "ema", "ema+reparam") for seed in (0, 1)}
    for folder, result in results.items():
        assert folder.parts[-4:-1] == ("digits", "ghostnetv2", result["strategy"])
        assert folder.name.startswith(f"seed{result['seed']}-")
    again = command("train.py", *SWEEP)
    assert again.stdout.count("finished already") == 6


def test_a_run_that_fails_does_not_stop_the_others(command, tmp_path: Path) -> None:
    diverging = ["-m", "optimizer=sgd", "optimizer.lr=1e30,0.01", *SWEEP[3:]]
    done = command("train.py", *diverging)
    assert done.returncode == 1
    assert "loss term" in done.stderr
    assert done.stderr.count("\n") == 1
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["status"] == "finished"
