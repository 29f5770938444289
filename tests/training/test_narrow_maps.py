"""A convolution whose stride is wider than its maps is not trained in 16 bits on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.strategies.base import Task
from ghostlab.training.model_checks import check_narrow_maps
from tests.conftest import Command

CPU = torch.device("cpu")
HALF = "trainer.precision=bf16-mixed"


def check(*overrides: str, device: torch.device = CPU, model: str = "test_efficientnet") -> None:
    settings = parse(compose(["model=timm", f"model.name={model}", *overrides]))
    size, epochs = settings.data.image_size, settings.trainer.max_epochs
    task = Task(10, size, (0.5,) * 3, (0.5,) * 3, epochs=epochs, steps_per_epoch=1)
    check_narrow_maps(create_model(model, num_classes=10), settings, task, device)


@pytest.mark.parametrize(
    "overrides",
    [
        param(["data.image_size=16"], id="float32"),
        param(["data.image_size=16", "trainer.precision=64-true"], id="float64"),
        param(["data.image_size=24", HALF], id="maps-of-two-pixels"),
    ],
)
def test_what_is_right_is_not_refused(overrides: list[str]) -> None:
    check(*overrides)


def test_a_gpu_computes_them() -> None:
    check("data.image_size=16", HALF, device=torch.device("cuda"))


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        param(["data.image_size=16", HALF], 16, id="mixed"),
        param(["data.image_size=16", "trainer.precision=bf16-true"], 16, id="true"),
        param([HALF, "data.image_size=32", "strategy=progressive", "strategy.progressive.size=16"], 16, id="a-stage"),
    ],
)
def test_the_layer_and_the_remedies_are_named(overrides: list[str], size: int) -> None:
    with pytest.raises(UsageError, match=rf"of images of {size} px 'blocks\.4\.0\.conv_dw' .*trainer\.precision=32"):
        check(*overrides)


def test_it_is_said_before_training(call: Command, tmp_path: Path) -> None:
    small = ("model=timm", "model.name=test_efficientnet", "data.image_size=8", "trainer.accelerator=cpu")
    done = call("train.py", *small, HALF)
    assert done.returncode == 2
    assert done.stderr.startswith("trainer.precision=bf16-mixed: of images of 8 px")
    assert not list(tmp_path.rglob("config.yaml"))
