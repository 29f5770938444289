"""A run killed anywhere and started again ends with exactly the weights of one that was never interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytest import param

ROOT = Path(__file__).parents[2]
JOB = [
    *("strategy=ema+cosine+mixup+droppath+randaugment+erasing", "model.width=0.1", "data.image_size=16"),
    *("trainer.max_epochs=4", "trainer.accelerator=cpu"),
]


def start(folder: Path, workers: int = 0) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), *JOB, f"data.workers={workers}"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epochs(process: subprocess.Popen[str], epochs: int) -> None:
    assert process.stdout is not None
    while epochs:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        epochs -= line.startswith("epoch ")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [last] = folder.rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    return {**saved["state_dict"], **{f"ema.{key}": value for key, value in saved["state_dict_ema"].items()}}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return weights(folder)


@pytest.mark.parametrize(
    ("epochs", "pause", "workers"),
    [
        param(1, 0.0, 0, id="while-an-epoch-is-saved"),
        param(2, 0.35, 0, id="within-an-epoch"),
        param(2, 0.35, 2, id="with-loading-processes"),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(
    uninterrupted: dict[str, torch.Tensor], tmp_path: Path, epochs: int, pause: float, workers: int
) -> None:
    process = start(tmp_path, workers)
    wait_for_epochs(process, epochs)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.rglob("result.json"))
    resumable = bool(list(tmp_path.rglob("last.ckpt")))
    again = start(tmp_path, workers)
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert ("resuming after epoch" in output) == resumable
    resumed = weights(tmp_path)
    assert list(resumed) == list(uninterrupted)
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)
    [metrics] = tmp_path.rglob("metrics.csv")
    assert [line.split(",")[0] for line in metrics.read_text().splitlines()] == ["epoch", "1", "2", "3", "4"]
