"""Networks of the user's own: trained, folded, exported and asked like any other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.runs import compose
from ghostlab.runs.command import common_overrides
from ghostlab.runs.identity import config_hash
from ghostlab.runs.settings import parse
from tests.conftest import Command

NETS = """
from torch import nn

def tiny(num_classes, in_chans, channels=8):
    layers = [nn.Conv2d(in_chans, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))

def bare(classes):
    return nn.Linear(classes, 3)

def nothing(num_classes, in_chans):
    return None
"""
OWN = ["model=custom", "model.factory=nets:tiny"]
QUICK = ["trainer.max_epochs=1", "data.image_size=8", "data.val_fraction=0.8"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the module ``nets``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("nets", None)


def test_it_is_made_with_its_options() -> None:
    model = create_model("nets:tiny", num_classes=5, in_chans=1, channels=4)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    assert model[0].out_channels == 4


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        param(["model=custom"], "model.factory must be given", id="none"),
        param(["model=custom", "model.factory=nets"], "model.factory=nets: must be <module>:<function>", id="no-colon"),
        param(["model=custom", "model.factory=nest:tiny"], "model.factory=nest:tiny: cannot be imported", id="module"),
    ],
)
def test_a_factory_that_is_none_is_refused_with_the_command(overrides: list[str], line: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(compose(overrides))
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        param("nets:tny", "model.factory=nets:tny: nets has no function 'tny'; did you mean 'tiny'?", id="function"),
        param("nets:bare", "model.factory=nets:bare: it takes no num_classes; it must take", id="arguments"),
        param("os:system", "model.factory=os:system: it takes no num_classes", id="no-factory"),
        param("nets:nothing", "model 'nets:nothing': it makes a NoneType, not a torch.nn.Module", id="no-module"),
    ],
)
def test_what_makes_no_network_is_refused(name: str, line: str) -> None:
    with pytest.raises(UsageError) as refused:
        create_model(name)
    assert str(refused.value).startswith(line)


def test_an_option_that_it_does_not_take_is_named(call: Command) -> None:
    done = call("train.py", *OWN, "+model.chanels=4", *QUICK)
    assert (done.returncode, done.stderr) == (2, "model 'nets:tiny' takes no option 'chanels'\n")
    assert "takes no option 'drop_path_rate'" in call("train.py", *OWN, "strategy=droppath", *QUICK).stderr


def test_a_run_of_one_is_fused_exported_and_asked(call: Command, folder: Path) -> None:
    done = call("train.py", *OWN, "strategy=reparam+ema", "+model.channels=4", *QUICK)
    assert done.returncode == 0, done.stderr
    run = next(folder.rglob("result.json")).parent
    assert run.relative_to(folder / "outputs").parts[:3] == ("digits", "nets_tiny", "ema+reparam")
    assert "proof: largest difference" in call("tools/fuse.py", str(run)).stdout
    assert "model.onnx" in call("tools/export.py", str(run), "--to", "onnx").stdout
    Image.new("RGB", (8, 8)).save(folder / "image.png")
    files = (run, run / "fused.safetensors", run / "export" / "model.onnx")
    answers = [call("tools/predict.py", str(file), "image.png").stdout for file in files]
    assert answers[0].startswith("image.png") and len(set(answers)) == 1
    refused = call("tools/publish.py", str(run), "--out", "out", "--licence", "mit")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "timm cannot open a network of your own" in refused.stderr
    assert json.loads((run / "result.json").read_text())["model"] == "nets:tiny"


def test_its_text_is_part_of_a_runs_identity_and_its_command_names_it(folder: Path) -> None:
    first = parse(compose([*OWN, "+model.channels=4"]))
    assert common_overrides(first.config) == ["data=digits", *OWN, "+model.channels=4"]
    (folder / "nets.py").write_text(NETS + "# changed\n", encoding="utf-8")
    assert config_hash(compose([*OWN, "+model.channels=4"])) != first.config_hash
    assert config_hash(first.config) == first.config_hash
