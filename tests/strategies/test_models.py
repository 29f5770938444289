"""Strategies that change the model: stochastic depth and re-parameterization."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pytest import approx, param
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.reparam import MultiBranchConv, reparameterize
from ghostlab.reparam.online import MODES
from ghostlab.strategies.base import Task
from ghostlab.strategies.droppath import DropPath, drop_path_rates, set_drop_path
from ghostlab.strategies.reparam import Reparam
from ghostlab.testing.settings import TASK
from ghostlab.testing.tiny import TinyNet

SMALL = {"num_classes": 4, "width": 0.1}


def grown(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, MultiBranchConv)]


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        param("ghostnetv1", {"width": 0.1}, [0.15 * k / 15 for k in range(16)], id="ghostnet"),
        param("efficientnet_b0", {}, [0.15 * k / 16 for k in range(1, 16)], id="efficientnet"),
    ],
)
def test_rates_rise_linearly_by_the_models_own_rule(model: str, options: dict, expected: list[float]) -> None:
    strategy = DropPath(rate=0.15)
    built = strategy.change_model(create_model(model, num_classes=4, **options, **strategy.model_options()), TASK)
    assert drop_path_rates(built) == approx(expected)
    assert strategy.describe() == f"rate rising to 0.15 over {len(expected)} blocks"


def test_a_model_without_droppable_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match="strategy=droppath: Linear has no residual block that can be left out"):
        DropPath().change_model(nn.Linear(2, 2), TASK)


def test_a_model_that_ignores_the_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="strategy=droppath: TinyNet has no residual block"):
        DropPath().change_model(TinyNet(drop_path_rate=0.0), TASK)


def test_blocks_are_left_out_in_training_only() -> None:
    model = create_model("ghostnetv1", **SMALL, drop_rate=0.0)
    set_drop_path(model, 0.9)
    images = torch.randn(4, 3, 16, 16)
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_reparam_of_ghostnetv2_is_ghostnetv3_and_says_what_it_did() -> None:
    strategy = Reparam()
    assert strategy.describe() == "N=3"
    model = strategy.change_model(create_model("ghostnetv2"), dataclasses.replace(TASK, image_size=32))
    # 32 Ghost modules with a primary and a cheap convolution each, and 4 depthwise convolutions of stride 2.
    assert len(grown(model)) == 2 * 32 + 4
    assert strategy.describe() == "N=3 on 68 convolutions, 8.13 M params in training"


@pytest.mark.parametrize(
    ("knobs", "names"),
    [
        param({"include": ["blocks.0.*"]}, ["blocks.0.conv"], id="include"),
        param({"include": ["*"], "exclude": ["blocks.0.*"]}, ["blocks.1.conv"], id="exclude"),
        param({}, ["blocks.0.conv", "blocks.1.conv"], id="all"),
    ],
)
def test_reparam_grows_the_chosen_convolutions(knobs: dict, names: list[str]) -> None:
    assert grown(Reparam(branches=2, **knobs).change_model(TinyNet(), TASK)) == names


@pytest.mark.parametrize(
    ("knobs", "scale", "identity"),
    [
        param({}, True, True, id="both"),
        param({"scale": False}, False, True, id="no-scale"),
        param({"identity": False}, True, False, id="no-identity"),
    ],
)
def test_reparam_hands_its_branches_on(knobs: dict, scale: bool, identity: bool) -> None:
    model = Reparam(branches=2, **knobs).change_model(TinyNet(), TASK)
    site = model.get_submodule("blocks.0.conv")
    assert site.conv.weight.shape == (2 * 8, 8, 3, 3)
    assert (site.scale is not None, site.identity is not None) == (scale, identity)


def test_reparam_with_a_norm_after_the_sum_keeps_those_of_the_model() -> None:
    strategy = Reparam(branches=2, norm="sum")
    model = strategy.change_model(TinyNet(), TASK)
    assert isinstance(model.get_submodule("blocks.0.bn"), nn.BatchNorm2d)
    assert strategy.describe().startswith("N=2, a batch norm after the sum, on 2 convolutions")


def test_reparam_of_a_model_for_one_channel_runs_it_with_one() -> None:
    task = Task(num_classes=4, image_size=16, mean=(0.5,), std=(0.2,), epochs=1, steps_per_epoch=1)
    model = create_model("ghostnetv1", **SMALL, in_chans=1)
    assert len(grown(Reparam().change_model(model, task))) == 68


@pytest.mark.parametrize(
    ("init", "pretrained", "kept"),
    [
        param("auto", True, True, id="auto, pretrained"),
        param("auto", False, False, id="auto, new"),
        param("preserve", False, True, id="preserve, new"),
        param("fresh", True, False, id="fresh, pretrained"),
    ],
)
def test_reparam_keeps_weights_that_are_worth_it(init: str, pretrained: bool, kept: bool) -> None:
    model, images = TinyNet().eval(), torch.randn(2, 3, 16, 16)
    expected = model(images)
    strategy = Reparam(init=init)
    grown_model = strategy.change_model(model, dataclasses.replace(TASK, pretrained=pretrained))
    assert torch.allclose(grown_model(images), expected, atol=1e-6) == kept
    assert strategy.describe().endswith(", the weights kept") == kept
    lost = pretrained and not kept
    assert strategy.describe().endswith(", whose pretrained weights are replaced by new ones") == lost


def test_an_unknown_init_of_reparam_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"strategy\.reparam\.init=presrve: .* did you mean 'preserve'"):
        Reparam(init="presrve")


@pytest.mark.parametrize("online", MODES)
def test_reparam_hands_its_way_of_computing_on(online: str) -> None:
    model = Reparam(branches=2, online=online).change_model(TinyNet(), TASK)
    assert {site.online for site in model.modules() if isinstance(site, MultiBranchConv)} == {online}


def test_an_unknown_way_of_computing_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"strategy\.reparam\.online=alway: .* did you mean 'always'"):
        Reparam(online="alway")
    with pytest.raises(UsageError, match=r"online=alway: .* did you mean 'always'"):
        reparameterize(TinyNet(), online="alway", example_input=torch.zeros(1, 3, 16, 16))
