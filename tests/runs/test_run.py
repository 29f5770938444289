"""Run folders opened again as models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytest import param
from torch import nn

from ghostlab.errors import RunError, UsageError
from ghostlab.models import create_model
from ghostlab.reparam import reparameterize
from ghostlab.runs.run import Run, find_run, open_run
from tests.models.conftest import seeded

__all__ = ["seeded"]

MODEL = {
    **{"name": "ghostnetv1", "width": 0.1, "stem_stride": 1, "pretrained": True, "drop_rate": None},
    "native": {"train": 224, "test": 224},
}
CONFIG = {"model": MODEL, "data": {"name": "digits", "num_classes": 4}, "seed": 3}
IMAGES = torch.randn(2, 3, 16, 16)


def trained() -> nn.Module:
    model = create_model("ghostnetv1", width=0.1, stem_stride=1, num_classes=4)
    model(torch.randn(4, 3, 16, 16))
    return model.eval()


def write_run(folder: Path, model: nn.Module, averaged: nn.Module | None = None, config: Any = CONFIG) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    content = {"state_dict": {f"model.{key}": value for key, value in model.state_dict().items()}}
    if averaged is not None:
        content["state_dict_ema"] = averaged.state_dict()
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    return folder


def test_a_run_is_opened_with_its_weights_and_configuration(tmp_path: Path) -> None:
    model = trained()
    opened, config = open_run(write_run(tmp_path / "run", model))
    assert torch.equal(opened(IMAGES), model(IMAGES))
    assert not opened.training
    assert config == CONFIG


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    model, averaged = trained(), trained()
    opened, _ = open_run(write_run(tmp_path / "run", model, averaged))
    assert torch.equal(opened(IMAGES), averaged(IMAGES))


def test_a_run_with_branches_is_opened_with_branches(tmp_path: Path) -> None:
    model = reparameterize(trained(), branches=2).eval()
    opened, _ = open_run(write_run(tmp_path / "run", model))
    assert opened.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(opened(IMAGES), model(IMAGES))


def test_a_checkpoint_in_a_run_is_opened_as_that_run(tmp_path: Path) -> None:
    best, run = trained(), write_run(tmp_path / "run", trained())
    torch.save({"state_dict": best.state_dict()}, run / "checkpoints" / "best.ckpt")
    opened, config = open_run(run / "checkpoints" / "best.ckpt")
    assert torch.equal(opened(IMAGES), best(IMAGES))
    assert config == CONFIG


def test_a_run_is_found_from_its_folder_and_its_files_only(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", nn.Linear(1, 1))
    assert find_run(run) == find_run(str(run)) == find_run(run / "checkpoints" / "last.ckpt") == Run(run)
    assert find_run(tmp_path) is find_run(run / "checkpoints") is find_run("resnet18") is None


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run folder or a checkpoint in one: no config\.yaml there"):
        open_run(tmp_path)


def test_a_run_without_a_finished_epoch_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", nn.Linear(1, 1))
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(RunError, match=r"no checkpoints/last\.ckpt"):
        open_run(run)


@pytest.mark.parametrize(
    "text",
    [
        param("model: [", id="broken"),
        param("", id="empty"),
        param("model: {width: 1.0}\ndata: {num_classes: 4}", id="no-name"),
        param("model: {name: ghostnetv1}\ndata: {name: digits}", id="no-classes"),
        param("model: ghostnetv1\ndata: digits", id="not-nodes"),
    ],
)
def test_a_configuration_that_training_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path / "run", nn.Linear(1, 1))
    (run / "config.yaml").write_text(text)
    with pytest.raises(RunError) as refused:
        open_run(run)
    assert str(refused.value).startswith(f"{run}/config.yaml: not the configuration of a run")
    assert "\n" not in str(refused.value)
