"""Which epochs ``best.ckpt`` and ``last.ckpt`` are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import MonkeyPatch, param
from pytorch_lightning import Trainer

from ghostlab.runs import compose
from ghostlab.training import history
from ghostlab.training.metrics import Scores
from ghostlab.training.run import run
from tests.training.photos import photos


@pytest.mark.parametrize(
    ("top1", "best"),
    [
        param([50.0, 50.0, 50.0], 1, id="the-first-of-equals"),
        param([50.0, 70.0, 70.0], 2, id="the-first-of-the-best"),
        param([50.0, 40.0, 60.0], 3, id="the-last"),
        param([0.0, 0.0, 0.0], 1, id="nothing-right"),
    ],
)
def test_best_is_the_first_epoch_with_the_highest_top1(
    tmp_path: Path, monkeypatch: MonkeyPatch, top1: list[float], best: int
) -> None:
    monkeypatch.chdir(tmp_path)
    given = iter(top1)

    def compute(self: Scores, original: Any = Scores.compute) -> dict[str, float]:
        return {**original(self), "top1": next(given)}

    monkeypatch.setattr(Scores, "compute", compute)
    result = run(compose([*photos(tmp_path / "photos", train=2), "data.batch_size=2", "trainer.max_epochs=3"]))
    assert (result["top1_best"], result["epoch_best"]) == (max(top1), best)
    [file] = Path("outputs").rglob("best.ckpt")
    assert torch.load(file, weights_only=True)["epoch"] == best - 1
    assert torch.load(file.with_name("last.ckpt"), weights_only=True)["epoch"] == 2


def test_what_a_line_tells_of_is_kept_and_an_interruption_says_what_is(
    tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    """Interrupted while the second epoch's line is printed, and again while the third one's checkpoint is written."""
    monkeypatch.chdir(tmp_path)
    job = compose([*photos(tmp_path / "photos", train=2), "data.batch_size=2", "trainer.max_epochs=4"])
    kept: list[int] = []

    def print_and_stop(line: str, **_: Any) -> None:
        [file] = Path("outputs").rglob("last.ckpt")
        kept.append(torch.load(file, weights_only=True)["epoch"] + 1)
        assert line.startswith(f"epoch {kept[-1]}/4 ")
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(history, "print", print_and_stop, raising=False)
    with pytest.raises(KeyboardInterrupt, match="interrupted after 2 epochs"):
        run(job)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt, match="interrupted after 2 epochs"):
            run(job)
    run(job)
    assert kept == [1, 2, 3, 4]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt
