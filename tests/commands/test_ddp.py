"""One run over several processes, through the real commands: started by Lightning, by torchrun, on two machines."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, Command

QUICK = (
    *("model=timm", "model.name=test_resnet", "data.image_size=8", "data.val_fraction=0.8", "data.batch_size=128"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu", "data.workers=1"),
)
TAUGHT = (
    *("strategy=kd", "strategy.kd.cache=true", "data.teacher.model=timm"),
    "data.teacher.overrides=['model.name=test_resnet','trainer.max_epochs=1','trainer.accelerator=cpu']",
)


def test_two_processes_train_one_run_with_its_whole_schedule(command: Command, tmp_path: Path) -> None:
    stages = ("strategy=cosine+ema+progressive", "strategy.progressive.stages=2", "strategy.progressive.size=12")
    done = command("train.py", *stages, "trainer.devices=2", *QUICK, "data.image_size=16", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["status"] == "finished"
    rows = list(csv.DictReader((file.parent / "metrics.csv").open()))
    assert [(row["epoch"], row["image_size"]) for row in rows] == [("1", "12"), ("2", "16")]
    # A step an epoch, the first of them the warm-up; with the steps of one process it would go on in the second.
    assert [float(row["lr"]) for row in rows] == [1e-5, 1e-3]


def start_torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(*agents: subprocess.Popen[str]) -> str:
    """What the agents printed together; none may fail."""
    ended = [agent.communicate(timeout=200) for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * len(agents), ended
    return "".join(printed for printed, _ in ended)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def numbers(folder: Path) -> dict[str, object]:
    result = json.loads((folder / "result.json").read_text())
    return {key: result[key] for key in ("top1", "top5", "loss", "teacher_top1", "params_train")}


def test_torchrun_trains_the_same_on_one_machine_and_on_two(tmp_path: Path) -> None:
    train = (str(ROOT / "train.py"), *QUICK, *TAUGHT)
    one = ("--nproc-per-node", "2", *train, "trainer.devices=2")
    told = finish(start_torchrun(tmp_path, *one))
    assert told.count("epoch 1/1") == 2  # of the teacher, and of the run
    assert told.count("next: ") == 1
    [alone] = {file.parent for file in tmp_path.rglob("kd/*/result.json")}

    meet = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}")
    two = ("--nproc-per-node", "1", *meet, *train, "trainer.devices=1", "trainer.num_nodes=2")
    told = finish(*(start_torchrun(tmp_path, *two) for _ in range(2)))
    assert told.count("epoch 1/1") == 1  # the teacher is there
    [together] = {file.parent for file in tmp_path.rglob("kd/*/result.json")} - {alone}
    assert numbers(together) == numbers(alone)
    assert len(list(tmp_path.rglob("cache.json"))) == 1
