"""Runs that go on from another run: digits, then an image folder with four classes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.reparam import MultiBranchConv
from ghostlab.runs import compose
from ghostlab.runs.run import open_run
from ghostlab.runs.settings import Settings, parse
from ghostlab.training.build import build_data, build_model, build_task, change_model
from ghostlab.training.image_checks import LeakCheck
from ghostlab.training.pretrained import load_pretrained, some_images
from ghostlab.training.run import run

SMALL = [
    *("model=timm", "model.name=test_efficientnet", "data.image_size=16", "data.workers=0"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1"),
]
FOLDER = ["data=imagefolder", "data.root=images", "data.crop=none", "data.batch_size=8", "data.stem_stride=1"]
STILL = ["experiment=transfer", *FOLDER, *SMALL, "optimizer.lr=1e-9"]
"""A fine-tuning run that learns nothing, and so ends where it began."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images`` of four classes, and two runs on digits: ``plain``, averaged, and ``grown``."""
    root = tmp_path_factory.mktemp("transfer")
    noise = np.random.default_rng(0)
    for half, count in (("train", 8), ("val", 4)):
        for shade, name in enumerate(("north", "east", "south", "west")):
            (root / "images" / half / name).mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 60, (16, 16, 3)) + 60 * shade
                Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / half / name / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, strategy in (("plain", "ema"), ("grown", "reparam")):
            cfg = compose([*SMALL, f"strategy={strategy}", "data.batch_size=64", "data.val_fraction=0.8"])
            run(cfg)
            shutil.copytree(parse(cfg).folder, root / name)
    return root


@pytest.fixture(autouse=True)
def in_it(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("images", "plain", "grown"):
        shutil.copytree(place / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)


def last(folder: Path) -> dict[str, torch.Tensor]:
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {key.removeprefix("model."): value for key, value in saved["state_dict"].items()}


def student(settings: Settings) -> tuple[torch.nn.Module, str]:
    data = build_data(settings)
    task = build_task(settings, data)
    model = build_model(settings, task)
    said = load_pretrained(model, settings, data, LeakCheck(settings, data))
    return change_model(model, settings, task).eval(), said


def test_a_run_goes_on_from_the_averaged_weights_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    cfg = compose([*STILL, "model.pretrained=plain"])
    run(cfg)
    said = capsys.readouterr().out
    assert "weights   of plain, averaged, with a new head for the new classes\n" in said
    assert "optimizer sgd, learning rate 3.125e-11: 1e-09 for 256 images\n" in said
    began, ended = open_run("plain")[0], last(parse(cfg).folder)
    assert ended["classifier.weight"].shape[0] == 4
    for name, parameter in began.named_parameters():
        if not name.startswith("classifier."):
            torch.testing.assert_close(ended[name], parameter.detach(), rtol=1e-4, atol=1e-6)
    assert yaml.safe_load((parse(cfg).folder / "config.yaml").read_text())["model"]["pretrained"] == "plain"


def test_a_finished_run_and_its_model_need_the_source_no_more() -> None:
    cfg = compose([*STILL, "model.pretrained=plain/checkpoints/best.ckpt"])
    result = run(cfg)
    shutil.rmtree("plain")
    assert run(cfg) == result
    model, config = open_run(parse(cfg).folder)
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 4)
    assert config["data"]["class_names"] == ["east", "north", "south", "west"]


def test_an_interrupted_run_goes_on_without_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    cfg = compose([*STILL, "model.pretrained=grown", "strategy=reparam"])
    whole = run(cfg)
    folder = parse(cfg).folder
    weights = last(folder)
    (folder / "result.json").unlink()
    shutil.rmtree("grown")
    capsys.readouterr()
    again = run(cfg)
    assert "resuming after epoch 1" in capsys.readouterr().out
    assert all(torch.equal(value, weights[key]) for key, value in last(folder).items())
    assert (again["top1"], again["loss"]) == (whole["top1"], whole["loss"])
    with pytest.raises(UsageError, match=r"^model\.pretrained=grown: no such run folder or checkpoint$"):
        run(compose([*STILL, "model.pretrained=grown", "strategy=reparam", "force=true"]))


@pytest.mark.parametrize(
    ("strategy", "branches"),
    [param("baseline", False, id="without-branches"), param("reparam", True, id="with-new-ones")],
)
def test_a_run_with_branches_is_gone_on_from_as_it_is_deployed(strategy: str, branches: bool) -> None:
    given = [*STILL, "model.pretrained=grown", f"strategy={strategy}"]
    model, said = student(parse(compose(given)))
    source, images = open_run("grown")[0], torch.randn(4, 3, 16, 16)
    sites = sum(isinstance(module, MultiBranchConv) for module in source.modules())
    assert (
        said == f"weights   of grown, the branches of {sites} convolutions merged, with a new head for the new classes"
    )
    assert any(isinstance(module, MultiBranchConv) for module in model.modules()) == branches
    with torch.no_grad():
        expected = source.forward_features(images)
        torch.testing.assert_close(model.forward_features(images), expected, rtol=1e-3, atol=1e-4)


def test_the_path_is_a_part_of_the_runs_identity() -> None:
    folders = {parse(compose([*STILL, f"model.pretrained={source}"])).folder for source in ("plain", "grown", "false")}
    assert len(folders) == 3


def test_some_images_are_of_all_classes_and_the_same_again() -> None:
    data = build_data(parse(compose([*STILL, "model.pretrained=false"])))
    images = some_images(data)
    assert images.shape == (32, 3, 16, 16)
    assert torch.equal(images, some_images(data))
    assert images.mean((1, 2, 3)).std() > 0.5


@pytest.mark.parametrize("value", ["1", "[plain]"])
def test_what_is_no_path_is_refused(value: str) -> None:
    settings = parse(compose([*STILL, f"model.pretrained={value}"]))
    with pytest.raises(UsageError, match=r"^model\.pretrained=.*: must be true or false, or in the config"):
        build_model(settings, build_task(settings, build_data(settings)))


def test_options_of_create_model_are_no_paths() -> None:
    wrong: Any = "plain"
    with pytest.raises(UsageError, match=r"^pretrained='plain': must be true or false"):
        create_model("ghostnetv2", pretrained=wrong)
