"""One run over two processes, through the real command."""

from __future__ import annotations

import csv
import json
from pathlib import Path


def test_two_processes_train_one_run_with_its_whole_schedule(command, tmp_path: Path) -> None:
    quick = ("model.width=0.1", "data.image_size=16", "trainer.max_epochs=2")
    stages = ("strategy=cosine+ema+progressive", "strategy.progressive.stages=2", "strategy.progressive.size=12")
    done = command("train.py", *stages, "trainer.devices=2", "trainer.accelerator=cpu", *quick)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["status"] == "finished"
    rows = list(csv.DictReader((file.parent / "metrics.csv").open()))
    assert [(row["epoch"], row["image_size"]) for row in rows] == [("1", "12"), ("2", "16")]
    assert float(rows[-1]["lr"]) == 0  # with the steps of one process the schedule would end half-way
