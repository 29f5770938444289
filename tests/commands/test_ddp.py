"""One run over two processes, through the real command."""

from __future__ import annotations

import csv
import json
from pathlib import Path


def test_two_processes_train_one_run_with_its_whole_schedule(command, tmp_path: Path) -> None:
    quick = ("model.width=0.1", "data.image_size=16", "trainer.max_epochs=2")
    done = command("train.py", "strategy=cosine+ema", "trainer.devices=2", "trainer.accelerator=cpu", *quick)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["status"] == "finished"
    rows = list(csv.DictReader((file.parent / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["lr"]) == 0  # with the steps of one process the schedule would end half-way
