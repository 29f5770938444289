"""What holds for every strategy of the canonical table in whole runs: killed and resumed, and in two processes."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import param

from ghostlab.data import DataModule
from ghostlab.models import create_model, load_weights
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.training.build import build_data
from ghostlab.training.run import run
from ghostlab.training.scores import evaluate
from tests.processes import killed_at, side_by_side
from tests.strategies.settings import KD_SETTINGS, SETTINGS
from tests.training_runs import trained_run

SMALL = ("data=imagefolder", "data.image_size=16", "data.batch_size=16", "data.workers=0", "data.decoded=null")
QUICK = (*SMALL, "model=timm", "model.name=test_efficientnet", "trainer.max_epochs=2", "trainer.accelerator=cpu")
CLASSES = 4

# Each is joined from as many as fit: what one of them loses shows in all that is compared. Of the ways to distill, the
# name in brackets.
JOINED = {
    "reparam+droppath+erasing+mixup+ema+cosine+randaugment": "",
    "progressive+droppath+autoaugment+cutmix+smoothing+ema+step+kd": "soft",
    "exponential+ema+mixup+cutmix+kd": "feature",
    "reparam+erasing+cosine+kd": "cached",
}
CASES = [param(text, kd, id=f"{text}({kd})" if kd else text) for text, kd in JOINED.items()]


def test_every_strategy_is_among_them() -> None:
    assert {name for text in JOINED for name in text.split("+")} == {*SETTINGS} - {"baseline"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 5 batches, and 16 to validate on: noise around a shade of grey for each class."""
    folder, noise = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for label, number in product(range(CLASSES), range(count)):
            file = folder / split / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = noise.normal(50 + 50 * label, 40, (16, 16, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    return folder


@pytest.fixture(scope="module")
def teacher(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("teacher"), [*QUICK, f"data.root={images}", "trainer.max_epochs=1"])


def job(text: str, kd: str, teacher: Path, images: Path, outputs: Path) -> list[str]:
    settings: dict[str, Any] = SETTINGS | ({"kd": KD_SETTINGS[kd] | {"teacher": str(teacher)}} if kd else {})
    settings = settings | {"ema": {"decay": 0.9, "warmup": False}, "progressive": {"stages": 2, "size": 12}}
    knobs = {f"strategy.{name}.{knob}": value for name in text.split("+") for knob, value in settings[name].items()}
    where = (f"data.root={images}", f"outputs={outputs}")
    return [*QUICK, *where, f"strategy={text}", *(f"{key}={value}" for key, value in knobs.items())]


def last(outputs: Path) -> dict[str, Any]:
    """The last checkpoint of the one run whose folder is not a teacher's."""
    [file] = (file for file in outputs.rglob("last.ckpt") if "teachers" not in file.parts)
    return torch.load(file, weights_only=True)


def rows(outputs: Path) -> list[dict[str, str]]:
    [file] = outputs.rglob("metrics.csv")
    return list(csv.DictReader(file.open(encoding="utf-8")))


@pytest.mark.parametrize(("text", "kd"), CASES)
def test_killed_within_an_epoch_it_ends_with_the_same_weights(
    text: str, kd: str, teacher: Path, images: Path, tmp_path: Path
) -> None:
    """In bfloat16 and with windows of several batches, the last of them shorter."""
    whole, killed = (
        [*job(text, kd, teacher, images, tmp_path / name), "trainer.accumulate=2", "trainer.precision=bf16-mixed"]
        for name in ("whole", "killed")
    )
    run(compose(whole))
    killed_at((1, 3), killed, tmp_path / "killed.txt")
    assert not list((tmp_path / "killed").rglob("result.json"))
    run(compose(killed))
    expected, resumed = last(tmp_path / "whole"), last(tmp_path / "killed")
    assert expected["global_step"] == 2 * 3  # of 5 batches an epoch
    for key in (key for key in expected if key.startswith("state_dict")):
        assert all(tensor.dtype != torch.bfloat16 for tensor in expected[key].values())
        assert all(torch.equal(resumed[key][name], tensor) for name, tensor in expected[key].items()), key
    timed = {"images_per_second", "seconds"}
    one, two = ([{**row, **dict.fromkeys(timed)} for row in rows(tmp_path / name)] for name in ("whole", "killed"))
    assert one == two


@pytest.mark.parametrize(("text", "kd"), CASES)
def test_in_two_processes_all_weights_are_equal_and_figures_are_theirs(
    text: str, kd: str, teacher: Path, images: Path, tmp_path: Path
) -> None:
    overrides = job(text, kd, teacher, images, tmp_path / "runs")
    side_by_side(overrides, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    parameters = {name: tensor for name, tensor in first.items() if "running_" not in name}
    assert all(torch.equal(second[name], tensor) for name, tensor in parameters.items())

    data = build_data(parse(compose(overrides)))
    [file] = (tmp_path / "runs").rglob("result.json")
    result, saved = json.loads(file.read_text(encoding="utf-8")), last(tmp_path / "runs")
    for weights, name in (("state_dict", "raw"), ("state_dict_ema", "ema")):
        if weights in saved:
            scores = scored(saved[weights], data)
            assert result[f"top1_{name}"] == pytest.approx(scores["top1"])
    assert result["loss"] == pytest.approx(scores["val_loss"], rel=1e-5)


def scored(weights: dict[str, torch.Tensor], data: DataModule) -> dict[str, float]:
    model = load_weights(create_model("test_efficientnet", num_classes=CLASSES), weights)
    return evaluate(model, data.val_dataloader(), CLASSES)
