"""A run killed anywhere and started again ends with exactly the weights of one that was never interrupted."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import param

from ghostlab.data import Batch
from ghostlab.errors import RunError
from ghostlab.kernels import native
from ghostlab.runs import compose
from ghostlab.testing.processes import killed_at, start
from ghostlab.testing.runs import SmallRuns
from ghostlab.training.classifier import Classifier
from ghostlab.training.run import run

JOB = [
    *("strategy=ema+cosine+mixup+droppath+randaugment+erasing", "model=timm", "model.name=test_efficientnet"),
    *("data=imagefolder", "data.image_size=16", "data.batch_size=10", "data.decoded=null", "data.workers=0"),
    *("trainer.max_epochs=3", "trainer.accelerator=cpu"),
]


def kill_while_an_epoch_is_saved(job: Sequence[str], printed: Path) -> None:
    process = start(job, printed)
    while process.is_alive() and "epoch 1/" not in (printed.read_text() if printed.exists() else ""):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, printed.read_text()


def kill_within_an_epoch(job: Sequence[str], printed: Path) -> None:
    killed_at((1, 5), job, printed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [last] = folder.rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    return {**saved["state_dict"], **{f"ema.{key}": value for key, value in saved["state_dict_ema"].items()}}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [*JOB, f"data.root={SmallRuns(tmp_path_factory.mktemp('few')).images}"]


@pytest.fixture(scope="module")
def uninterrupted(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("whole")
    run(compose([*job, f"outputs={folder}"]))
    return weights(folder)


@pytest.mark.parametrize(
    ("kill", "workers"),
    [
        param(kill_while_an_epoch_is_saved, 0, id="while-an-epoch-is-saved"),
        param(kill_within_an_epoch, 2, id="within-an-epoch-with-loading-processes"),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(
    job: list[str],
    uninterrupted: dict[str, torch.Tensor],
    tmp_path: Path,
    kill: Callable[[Sequence[str], Path], None],
    workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = [*job, f"data.workers={workers}", f"outputs={tmp_path / 'runs'}"]
    kill(job, tmp_path / "printed.txt")
    assert not list(tmp_path.rglob("result.json"))
    resumable = bool(list(tmp_path.rglob("last.ckpt")))
    run(compose(job))
    assert ("resuming after epoch" in capsys.readouterr().out) == resumable
    resumed = weights(tmp_path)
    assert list(resumed) == list(uninterrupted)
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in resumed)
    [metrics] = tmp_path.rglob("metrics.csv")
    assert [line.split(",")[0] for line in metrics.read_text().splitlines()] == ["epoch", "1", "2", "3"]


@pytest.mark.skipif(native.kernels(torch.float32) is None, reason="there is no C++ compiler")
def test_a_resumed_run_computes_as_it_began_though_other_kernels_are_faster_now(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOSTLAB_CACHE", str(tmp_path / "cache"))

    def trained(name: str) -> dict[str, torch.Tensor]:
        run(compose([*job, "data.image_size=48", f"outputs={tmp_path / name}"]))
        return weights(tmp_path / name)

    uninterrupted = trained("whole")
    with monkeypatch.context() as patch, pytest.raises(RunError, match="interrupted"):
        patch.setattr(Classifier, "training_step", interrupted_in_epoch_1)
        trained("resumed")
    [ways] = (tmp_path / "cache").glob("*.json")
    ways.write_text(json.dumps({key: OTHER[way] for key, way in json.loads(ways.read_text()).items()}))
    resumed, anew = trained("resumed"), trained("anew")
    assert all(torch.equal(resumed[key], uninterrupted[key]) for key in uninterrupted)
    assert not all(torch.equal(anew[key], uninterrupted[key]) for key in uninterrupted)


OTHER = {"pytorch": "both", "backward": "pytorch", "both": "pytorch"}
"""For each way to compute a convolution one that rounds otherwise."""


def interrupted_in_epoch_1(self: Classifier, batch: Batch, index: int, really: Any = Classifier.training_step) -> Any:
    if self.current_epoch == 1:
        raise RuntimeError("interrupted")
    return really(self, batch, index)
