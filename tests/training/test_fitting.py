"""Networks that do not take the images of a run: said in one line before training, with ways out that were tried."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.models.options import model_arguments
from ghostlab.reparam.trace import default_input
from ghostlab.runs import compose
from ghostlab.runs.run import open_run
from ghostlab.runs.settings import Settings, parse
from ghostlab.strategies.base import Task
from ghostlab.training.model_checks import check_fit
from tests.conftest import Command


def settings_of(model: str, *overrides: str) -> Settings:
    return parse(compose(["model=timm", f"model.name={model}", "data.stem_stride=2", *overrides]))


def task_of(settings: Settings) -> Task:
    size, epochs = settings.data.image_size, settings.trainer.max_epochs
    return Task(10, size, (0.5,) * 3, (0.5,) * 3, epochs=epochs, steps_per_epoch=1)


def build(settings: Settings) -> nn.Module:
    with torch.device("meta"):
        return create_model(num_classes=10, **model_arguments(settings.model))


@cache
def refusal(model: str, *overrides: str) -> str:
    """What is said about a run, empty if nothing is."""
    settings = settings_of(model, *overrides)
    try:
        check_fit(build(settings), settings, task_of(settings))
    except UsageError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


PROGRESSIVE = ("strategy=progressive", "trainer.max_epochs=4")

REFUSED = {
    "one-size": (
        "test_vit3",
        ["data.image_size=32"],
        r"^data.image_size=32: .*'test_vit3'.*; it takes 160 px; with",
    ),
    "windows": (
        "test_maxvit",
        ["data.image_size=32"],
        r"must be divisible by window \(5\).*160 px; with",
    ),
    "positions": ("test_coatnet", ["data.image_size=32"], r"it takes 160 px; with \+model.img_size=32 it takes these"),
    "patches": (
        "test_vit",
        ["data.image_size=40"],
        r"patch size \(16\)\); it takes 32 and 48 px; with",
    ),
    "too-small": ("inception_v3", ["data.image_size=64"], r"data.image_size=64: .*Kernel size.*; it takes 80 px$"),
    "strides-that-meet": ("dla34", ["data.image_size=48"], r"data.image_size=48: .*; it takes 32 and 64 px$"),
    "larger-for-validation": (
        "test_vit3",
        ["data.image_size=160", "data.test_size=192"],
        r"data.test_size=192: .*; it takes 160 px; with \+model.dynamic_img_size=true it takes all sizes of this run",
    ),
    "a-stage": (
        "test_vit",
        ["data.image_size=160", *PROGRESSIVE],
        r"^a stage of 68 px in strategy=progressive: .*; it takes 64 and 80 px; with .*_pad=true it takes all",
    ),
    "no-way-but-its-own": (
        "test_maxvit",
        ["data.image_size=160", *PROGRESSIVE],
        r"a stage of 68 px.*it takes 160 px",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_size_that_is_not_taken_is_named_with_a_way_out(case: str) -> None:
    model, overrides, message = REFUSED[case]
    assert re.search(message, refusal(model, *overrides)), refusal(model, *overrides)


@pytest.mark.parametrize("case", ["one-size", "windows", "a-stage", "larger-for-validation"])
def test_the_ways_out_are_ways_out(case: str) -> None:
    model, overrides, _ = REFUSED[case]
    said = refusal(model, *overrides)
    if added := re.findall(r"\+model\S+", said):
        assert not refusal(model, *overrides, *added)
    if sizes := re.search(r"it takes (\d+)(?: and (\d+))? px", said):
        for size in filter(None, sizes.groups()):
            assert not refusal(model, f"data.image_size={size}")


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        pytest.param("test_resnet", ["data.image_size=160", *PROGRESSIVE], id="convolutions"),
        pytest.param("test_vit", ["data.image_size=64"], id="any-multiple-of-a-patch"),
        pytest.param("test_vit", ["data.image_size=64", "data.test_size=96"], id="two-of-them"),
    ],
)
def test_nothing_is_said_where_nothing_is_wrong(model: str, overrides: list[str]) -> None:
    assert refusal(model, *overrides) == ""


def test_what_is_not_logits_is_refused() -> None:
    settings = settings_of("test_resnet", "data.image_size=64", "+model.global_pool=''")
    model = create_model("test_resnet", num_classes=0, global_pool="")
    with pytest.raises(UsageError, match=r"what it makes of an image, of shape \(1, \d+, 2, 2\), is not 10 logits"):
        check_fit(model, settings, task_of(settings))


ON_DIGITS = ("model=timm", "model.name=test_vit3", "data.stem_stride=2", "data.val_fraction=0.8")


def test_it_is_said_before_anything_is_written(tmp_path: Path, call: Command) -> None:
    done = call("train.py", *ON_DIGITS)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "+model.img_size=24" in done.stderr
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_network_built_for_the_size_trains_and_is_opened_again(tmp_path: Path, call: Command) -> None:
    assert call("train.py", *ON_DIGITS, "+model.img_size=24", "trainer.max_epochs=1").returncode == 0
    model, _ = open_run(next(tmp_path.rglob("result.json")).parent)
    assert model(torch.zeros(1, 3, 24, 24)).shape == (1, 10)
    assert default_input(model).shape == (1, 3, 24, 24)
