"""A batch of one image: refused before training where norms cannot use it, left out where images were unreadable."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from pytest import MonkeyPatch, param
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.reparam import reparameterize
from ghostlab.runs import compose
from ghostlab.training.model_checks import trains_on
from ghostlab.training.run import run
from tests.training.photos import photos


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("size", "images", "expected"), [(32, 0, False), (32, 1, False), (32, 2, True), (33, 1, True), (64, 1, True)]
)
@pytest.mark.parametrize("online", ["plain", "never", "always"])
def test_a_norm_over_one_value_does_not_train(online: str, size: int, images: int, expected: bool) -> None:
    model: nn.Module = create_model("test_resnet", num_classes=2)
    if online != "plain":
        reparameterize(model, example_input=torch.zeros(1, 3, 32, 32), online=online)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert trains_on(model, torch.randn(images, 3, size, size)) == expected
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if images < 2:
        torch.set_rng_state(drawn)


def test_a_network_without_batch_norms_trains_on_one_image() -> None:
    assert trains_on(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), torch.zeros(1, 3, 3, 3))


@pytest.mark.parametrize(
    ("more", "size"),
    [
        param([], 32, id="plain"),
        param(["strategy=reparam"], 32, id="grown"),
        param(["strategy=progressive", "strategy.progressive.stages=2", "strategy.progressive.size=32",
               "data.image_size=64", "trainer.max_epochs=2"], 32, id="first-stage"),
    ],
)  # fmt: skip
def test_batches_of_one_image_are_refused_with_the_remedy(tmp_path: Path, more: list[str], size: int) -> None:
    with pytest.raises(UsageError, match=rf"^data\.batch_size=1: 'test_resnet' .* of {size} px, .*at least 2"):
        run(compose([*photos(tmp_path / "photos"), "data.batch_size=1", *more]))
    assert not list(Path("outputs").rglob("config.yaml"))


def test_batches_of_one_larger_image_are_trained_on(tmp_path: Path) -> None:
    result = run(compose([*photos(tmp_path / "photos", train=2), "data.batch_size=1", "data.image_size=64"]))
    assert result["status"] == "finished"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_unreadable_images_leave_of_a_batch_is_left_out(tmp_path: Path, accumulate: int) -> None:
    data = photos(tmp_path / "photos", train=3, broken=1)
    result = run(compose([*data, "data.batch_size=2", "data.on_error=skip", f"trainer.accumulate={accumulate}"]))
    assert (result["status"], result["skipped_images"]) == ("finished", 1)
    [file] = Path("outputs").rglob("metrics.csv")
    assert [float(row["loss"]) > 0 for row in csv.DictReader(file.open())] == [True]
