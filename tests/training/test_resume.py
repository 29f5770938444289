"""A run killed anywhere and started again ends with exactly the weights of one that was never interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest import param

from ghostlab.config import compose
from ghostlab.training.run import run
from tests.conftest import ROOT, run_in

JOB = [
    *("strategy=ema+cosine+mixup+droppath+randaugment+erasing", "model=timm", "model.name=test_efficientnet"),
    *("data.image_size=16", "data.val_fraction=0.5", "trainer.max_epochs=3", "trainer.accelerator=cpu"),
]
KILLED_WITHIN_THE_SECOND_EPOCH = f"""
import os, runpy, signal, sys
from ghostlab.training.classifier import Classifier

def training_step(self, batch, index, original=Classifier.training_step):
    if (self.current_epoch, index) == (1, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, index)

Classifier.training_step = training_step
runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
"""


def kill_while_an_epoch_is_saved(folder: Path, workers: int) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *JOB, f"data.workers={workers}"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("epoch ") for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def kill_within_an_epoch(folder: Path, workers: int) -> None:
    command = [sys.executable, "-c", KILLED_WITHIN_THE_SECOND_EPOCH, *JOB, f"data.workers={workers}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(folder.rglob("last.ckpt"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [last] = folder.rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    return {**saved["state_dict"], **{f"ema.{key}": value for key, value in saved["state_dict_ema"].items()}}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("whole")
    run(compose([*JOB, f"outputs={folder}"]))
    return weights(folder)


@pytest.mark.parametrize(
    ("kill", "workers"),
    [
        param(kill_while_an_epoch_is_saved, 0, id="while-an-epoch-is-saved"),
        param(kill_within_an_epoch, 2, id="within-an-epoch-with-loading-processes"),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(
    uninterrupted: dict[str, torch.Tensor], tmp_path: Path, kill: Callable[[Path, int], None], workers: int
) -> None:
    kill(tmp_path, workers)
    assert not list(tmp_path.rglob("result.json"))
    resumable = bool(list(tmp_path.rglob("last.ckpt")))
    again = run_in(tmp_path, "train.py", *JOB, f"data.workers={workers}")
    assert again.returncode == 0, again.stderr
    assert ("resuming after epoch" in again.stdout) == resumable
    resumed = weights(tmp_path)
    assert list(resumed) == list(uninterrupted)
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)
    [metrics] = tmp_path.rglob("metrics.csv")
    assert [line.split(",")[0] for line in metrics.read_text().splitlines()] == ["epoch", "1", "2", "3"]
