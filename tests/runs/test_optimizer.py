"""Optimizers by timm's names, and options that are taken or refused, never dropped."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from pytest import param
from timm.optim import create_optimizer_v2, get_optimizer_class, get_optimizer_info, list_optimizers
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.command import common_overrides
from ghostlab.runs.optimizer import OPTIONS, OWN, OptimizerConfig
from ghostlab.runs.settings import parse
from tests.conftest import Command

QUICK = ["model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "data.image_size=8", "data.val_fraction=0.8"]
NEEDS_MORE = ("adahessian",)


@pytest.mark.parametrize("name", OWN)
def test_what_is_known_without_timm_is_what_timm_takes(name: str) -> None:
    takes = {*inspect.signature(get_optimizer_class(OWN[name], bind_defaults=False)).parameters}
    assert takes >= OPTIONS[name]
    fields = {"momentum", "nesterov", "alpha", "eps", "betas", "foreach"}
    assert {*OPTIONS[name]} == takes & fields


def usable() -> list[str]:
    """What needs neither a GPU nor second derivatives."""
    return [name for name in list_optimizers() if not name.startswith(("bnb", "fused")) and name not in NEEDS_MORE]


@pytest.mark.parametrize("name", usable())
def test_every_optimizer_of_timm_is_made_and_steps(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 4, 2))
    optimizer = create_optimizer_v2(model, **OptimizerConfig(name, lr=0.01).timm_options())
    before = [parameter.clone() for parameter in model.parameters()]
    with torch.compiler.set_stance("force_eager"):  # kron compiles its steps, for half a minute
        for _ in range(2):
            model(torch.randn(4, 3, 4, 4)).square().mean().backward()
            optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert sum(moved) >= 3
    assert get_optimizer_info(name) is not None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        param({"name": "moun"}, "optimizer.name=moun: no optimizer 'moun'; did you mean 'muon'?", id="name"),
        param({"name": "adahessian"}, "optimizer.name=adahessian: needs second derivatives", id="second-order"),
        param(
            {"name": "sgd", "eps": 1e-8},
            "optimizer.eps=1e-08: null leaves it out, sgd takes only momentum, nesterov",
            id="own",
        ),
        param(
            {"name": "lion", "momentum": 0.9},
            "optimizer.momentum=0.9: null leaves it out, lion takes only betas, ",
            id="key",
        ),
        param(
            {"name": "muon", "options": {"ns_step": 5}},
            "optimizer.options.ns_step=5: null leaves it out, muon takes only",
            id="option",
        ),
        param({"name": "muon", "lr": 0.0}, "optimizer.lr=0.0: must be above 0", id="rate"),
        param({"name": "adamw", "betas": [0.9]}, "optimizer.betas=[0.9]: two in [0, 1)", id="betas"),
    ],
)
def test_what_it_does_not_take_is_refused_and_not_dropped(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        OptimizerConfig(**{"lr": 0.1, **given})
    assert str(refused.value).startswith(told)


def test_a_run_trains_with_one_and_an_option_of_its_own(call: Command) -> None:
    chosen = ["optimizer=timm", "optimizer.name=muon", "optimizer.lr=0.02", "+optimizer.options.ns_steps=3"]
    done = call("train.py", *chosen, *QUICK)
    assert done.returncode == 0, done.stderr
    assert parse(compose(chosen)).optimizer.timm_options()["ns_steps"] == 3


def test_the_file_of_optimizers_of_timm_needs_name_and_rate() -> None:
    with pytest.raises(UsageError, match=r"^optimizer\.lr must be given"):
        parse(compose(["optimizer=timm"]))


def test_the_command_of_a_run_names_it() -> None:
    overrides = ["optimizer=timm", "optimizer.name=muon", "optimizer.lr=0.02", "+optimizer.options.ns_steps=3"]
    named = common_overrides(parse(compose(overrides)).config)
    assert named == ["data=digits", "model=ghostnetv2", *overrides]
