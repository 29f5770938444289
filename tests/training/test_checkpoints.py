"""Which epochs ``best.ckpt`` and ``last.ckpt`` are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import MonkeyPatch, param

from ghostlab.runs import compose
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
