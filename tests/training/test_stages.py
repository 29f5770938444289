"""What every sample of a run in stages really saw: the size of its image and the strength of what was done to it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pytest import approx, param
from torch import Tensor

from ghostlab.data import Batch
from ghostlab.errors import RunError, UsageError
from ghostlab.runs import compose
from ghostlab.strategies import mixup as mixup_file
from ghostlab.strategies import randaugment as randaugment_file
from ghostlab.strategies.droppath import drop_path_rates
from ghostlab.testing.runs import SmallRuns
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.classifier import Classifier
from ghostlab.training.run import run
from ghostlab.training.trainer import Rehearsal

SIZES = [16, 16, 20, 24]
JOB = [
    *("model=efficientnet_b0", "model.name=test_efficientnet", "model.drop_rate=0.3", "model.drop_path_rate=0.2"),
    *("data=imagefolder", "data.image_size=24", "data.test_size=20", "data.batch_size=16", "data.decoded=null"),
    *("data.mean=[0.3,0.3,0.3]", "data.std=[0.3,0.3,0.3]", "trainer.accelerator=cpu"),
    *("trainer.max_epochs=4", "strategy=progressive+randaugment+mixup+ema"),
    *("strategy.progressive.stages=3", "strategy.progressive.epochs=[2,1,1]", "strategy.progressive.size=16"),
    *("strategy.progressive.droppath=0", "strategy.randaugment.magnitude=25", "strategy.mixup.alpha=0.4"),
]


STEPS = 5
"""Of an epoch of 80 images."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SmallRuns(tmp_path_factory.mktemp("small")).images


Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def train(images: Path) -> Train:
    return lambda *more: run(compose([*JOB, f"data.root={images}", *more]))


def last_checkpoint(outputs: Path) -> dict[str, Any]:
    [last] = outputs.rglob("last.ckpt")
    return torch.load(last, weights_only=True)


@pytest.fixture(scope="module")
def whole(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run that nothing happened to is kept."""
    outputs = tmp_path_factory.mktemp("whole")
    train("data.workers=0", f"outputs={outputs}")
    return outputs


def check_same_weights(outputs: Path, others: Path) -> None:
    one, other = last_checkpoint(outputs), last_checkpoint(others)
    for part in ("state_dict", "state_dict_ema"):
        assert all(torch.equal(one[part][key], other[part][key]) for key in one[part]), part


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """For each training step: shape, strength and rates. RandAugment is made to paint its strength over the image, in a
    loading process or not, and Mixup to write down its alpha in place of mixing."""
    found: list[dict[str, Any]] = []
    original = Classifier.training_step
    alphas: list[float] = []

    def painted(magnitude: float, *rest: Any) -> Any:
        return lambda image: Image.new("RGB", image.size, (round(10 * magnitude),) * 3)

    def drawn(alpha: float, batch: int, device: torch.device) -> tuple[float, Tensor]:
        alphas.append(alpha)
        return 1.0, torch.arange(batch)

    def noted(self: Classifier, batch: Batch, index: int) -> Tensor:
        alphas.clear()
        loss = original(self, batch, index)
        pixels = (batch.images * 0.3 + 0.3) * 255
        found.append(
            {
                "epoch": self.current_epoch,
                "size": tuple(batch.images.shape[-2:]),
                "painted": sorted({round(value) for value in pixels.unique().tolist()}),
                "alphas": list(alphas),
                "dropout": self.model.drop_rate,
                "deepest": max(drop_path_rates(self.model)),
            }
        )
        return loss

    monkeypatch.setattr(randaugment_file, "rand_augment", painted)
    monkeypatch.setattr(mixup_file, "draw", drawn)
    monkeypatch.setattr(Classifier, "training_step", noted)
    return found


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The sizes of validation images."""
    sizes: set[int] = set()
    original = Classifier.validation_step

    def noted(self: Classifier, batch: Batch, index: int) -> None:
        sizes.add(batch.images.shape[-1])
        original(self, batch, index)

    monkeypatch.setattr(Classifier, "validation_step", noted)
    return sizes


@pytest.mark.parametrize("workers", [param(0, id="main-process"), param(2, id="persistent-workers")])
def test_every_sample_has_the_size_and_the_strength_of_its_stage(
    train: Train, seen: list[dict[str, Any]], validated: set[int], workers: int
) -> None:
    train(f"data.workers={workers}")
    assert validated == {20}
    trial, *steps = seen
    assert (trial["size"], trial["dropout"]) == ((24, 24), 0.3)
    assert len(steps) == 4 * STEPS
    full = max(step["deepest"] for step in steps)
    for step in steps:
        stage = [0, 0, 1, 2][step["epoch"]]
        assert step["size"] == (SIZES[step["epoch"]],) * 2
        assert step["painted"] == [round(10 * [5, 15, 25][stage])]
        assert step["alphas"] == [[], [0.2], [0.4]][stage]
        assert step["dropout"] == approx([0.1, 0.2, 0.3][stage])
        assert step["deepest"] == approx([0, full / 2, full][stage])


def test_a_row_has_its_stage(whole: Path) -> None:
    [file] = whole.rglob("metrics.csv")
    rows = list(csv.DictReader(file.open()))
    assert [int(row["image_size"]) for row in rows] == SIZES
    assert [float(row["randaugment.magnitude"]) for row in rows] == [5, 5, 15, 25]
    assert [float(row["mixup.alpha"]) for row in rows] == [0, 0, 0.2, 0.4]


def test_a_run_killed_within_a_stage_ends_with_the_same_weights(
    train: Train, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Checkpoints.on_train_epoch_end

    def killed(self: Checkpoints, trainer: Any, pl_module: Any) -> None:
        original(self, trainer, pl_module)
        if trainer.current_epoch == 0:
            raise KeyError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_epoch_end", killed)
        with pytest.raises(RunError, match="killed"):
            train("data.workers=2")
    train("data.workers=2")
    check_same_weights(whole, Path("outputs"))


def test_the_trial_of_the_last_stage_changes_nothing(
    train: Train, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rehearsal, "on_train_start", lambda *given: None)
    train("data.workers=0")
    check_same_weights(whole, Path("outputs"))


def test_too_little_memory_for_the_last_stage_is_said_before_the_first_epoch(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(self: Classifier, batch: Batch, index: int) -> Tensor:
        if batch.images.shape[-1] == 24:
            raise torch.OutOfMemoryError("CUDA out of memory")
        raise AssertionError("the last stage comes first")

    monkeypatch.setattr(Classifier, "training_step", too_large)
    with pytest.raises(RunError, match="out of memory in the last stage, at 24 px, which was tried first"):
        train("data.workers=0")
    assert not list(Path("outputs").rglob("metrics.csv"))


def test_a_run_without_stages_tries_nothing(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rehearsal, "_step", lambda *given: pytest.fail("tried"))
    job = [*JOB[: JOB.index("trainer.max_epochs=4")], f"data.root={images}", "data.workers=0"]
    assert run(compose([*job, "trainer.max_epochs=1", "strategy=mixup"]))["status"] == "finished"


def test_more_stages_than_epochs_are_refused_before_there_is_a_folder() -> None:
    with pytest.raises(UsageError, match=r"strategy\.progressive\.stages=4: must not be above trainer\.max_epochs=2"):
        run(compose(["strategy=progressive", "trainer.max_epochs=2", "trainer.accelerator=cpu"]))
    assert not Path("outputs").exists()


def test_compiling_is_bounded_by_the_number_of_stages(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter, compile_ = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend=counter))
    with torch._dynamo.config.patch(recompile_limit=2):  # monkeypatch would hide it afterwards
        train("data.workers=0", "trainer.compile=true", "model.name=test_resnet")
        assert torch._dynamo.config.recompile_limit == 2 * 3 + 2
    assert counter.frame_count == 3
