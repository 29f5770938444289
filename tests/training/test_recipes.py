"""The recipes of ``conf/experiment`` against numbers that were published, or follow from those by hand; no training."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytest import approx, param
from timm.optim import create_optimizer_v2
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.settings import Settings, parse
from ghostlab.strategies.base import Task
from ghostlab.strategies.droppath import drop_path_rates
from ghostlab.strategies.ema import EmaCallback, ema_decay, ema_update, pair
from ghostlab.training.build import build_model, build_optimizer, build_task

FILES = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml")
    if "\nhydra:" not in path.read_text()  # those are sweeps
)
RMSPROP = ["efficientnet_b0_paper", "efficientnetv2_s_paper", "efficientnetv2_s_automl"]
GPUS = 8
IMAGENET: Any = SimpleNamespace(train_size=1_281_167, num_classes=1000)


@cache
def settings(file: str, *more: str) -> Settings:
    return parse(compose([f"experiment={file}", "data=imagenet", "data.root=/images", *more]))


def task(given: Settings) -> Task:
    return build_task(given, IMAGENET, GPUS)


def strategy(given: Settings, name: str) -> Any:
    return next(s for s in given.strategies if s.name == name)


@pytest.mark.parametrize("file", FILES)
def test_a_recipe_composes_and_is_accepted(file: str) -> None:
    given = settings(file)
    assert given.trainer.max_epochs > 1
    assert given.optimizer.lr_per
    assert len(given.strategies) == len(given.strategy.replace("ghostnetv3", "1+2+3+4+5+6").split("+"))


@pytest.mark.parametrize(
    ("file", "images", "peak"),
    [
        param("efficientnet_b0_paper", 2048, 0.128, id="efficientnet"),
        param("efficientnetv2_s_paper", 4096, 0.256, id="v2-paper"),
        param("efficientnetv2_s_automl", 4096, 0.256, id="v2-code"),
        param("ghostnetv2_official", 1024, 0.064, id="ghostnetv2"),
        param("ghostnetv3", 1024, 0.05, id="ghostnetv3"),
    ],
)
def test_a_step_has_the_published_images_and_learning_rate(file: str, images: int, peak: float) -> None:
    given = settings(file)
    assert given.data.batch_size * GPUS * given.trainer.accumulate == images
    assert given.trainer.devices == GPUS
    assert build_optimizer(given, GPUS).lr == approx(peak, rel=1e-12)


def test_on_fewer_images_a_recipe_has_a_smaller_learning_rate() -> None:
    given = settings("efficientnet_b0_paper", "trainer.devices=1", "data.batch_size=64", "trainer.accumulate=2")
    assert build_optimizer(given).lr == approx(0.008)
    assert build_optimizer(settings("efficientnet_b0_paper", "optimizer.lr_per=null"), GPUS).lr == 0.016


@pytest.mark.parametrize(
    ("per", "images", "lr"),
    [param(None, 999, 0.1, id="as-it-is"), param(256, 64, 0.025, id="fewer"), param(256, 4096, 1.6, id="more")],
)
def test_the_learning_rate_grows_with_the_images_of_a_step(per: int | None, images: int, lr: float) -> None:
    resolved = OptimizerConfig("sgd", lr=0.1, lr_per=per).for_steps_of(images)
    assert resolved.timm_options() == {"lr": approx(lr), "weight_decay": 0.0, "opt": "sgd", "foreach": True}


@pytest.mark.parametrize("per", [0, -256])
def test_a_learning_rate_for_no_images_is_refused(per: int) -> None:
    with pytest.raises(UsageError, match=rf"^optimizer\.lr_per={per}: images, at least 1, or null$"):
        OptimizerConfig("sgd", lr=0.1, lr_per=per)


# Steps an epoch: 1,281,167 images in 625 steps of 2,048; in 313 of 4,096; in 1,251 of 1,024.
@pytest.mark.parametrize(
    ("file", "rates"),
    [
        param(
            "efficientnet_b0_paper",
            {0: 0.0, 1: 0.128 / 3125, 1500: 0.06144, 3124: 0.128 * 3124 / 3125, 3125: 0.128 * 0.97**2}
            | {4499: 0.128 * 0.97**2, 4500: 0.128 * 0.97**3, 350 * 625 - 1: 0.128 * 0.97**145},
            id="efficientnet",
        ),
        param(
            "efficientnetv2_s_paper",
            {0: 0.0, 1: 0.256 / 1565, 1565: 0.256 * 0.97**2, 2253: 0.256 * 0.97**2, 2254: 0.256 * 0.97**3},
            id="v2-paper",
        ),
        param("efficientnetv2_s_automl", {0: 0.0, 313: 0.256 / 5, 1565: 0.2408704}, id="v2-code"),
        param("ghostnetv2_official", {0: 1e-6, 1251: 2.1334e-2, 3753: 0.062272, 6005: 0.06059066}, id="ghostnetv2"),
        param("ghostnetv3", {0: 1e-4, 3753: 0.05, 1251 * 600: 1e-5}, id="ghostnetv3"),
    ],
)
def test_the_learning_rates_of_a_recipe(file: str, rates: dict[int, float]) -> None:
    given = settings(file)
    [factor] = [found for s in given.strategies if (found := s.lr_factor(task(given)))]
    peak = build_optimizer(given, GPUS).lr
    assert {step: peak * factor(step) for step in rates} == approx(rates, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("file", RMSPROP)
def test_the_average_begins_as_published(file: str) -> None:
    [callback] = strategy(settings(file), "ema").callbacks()
    assert isinstance(callback, EmaCallback)
    decays = [ema_decay(t, callback.decay, callback.warmup) for t in (0, 1, 10, 89_989, 89_991, 200_000)]
    assert decays == approx([1 / 10, 2 / 11, 11 / 20, 89_990 / 89_999, 0.9999, 0.9999], abs=1e-12)


def test_the_average_of_ghostnetv2_has_no_warm_up() -> None:
    average = strategy(settings("ghostnetv2_official"), "ema")
    assert ema_decay(0, average.decay, average.warmup) == 0.9999


def test_statistics_are_averaged_as_weights_are() -> None:
    averaged, current = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    nn.init.constant_(current.running_mean, 5.0)
    ema_update(pair(averaged, current), ema_decay(0, 0.9999))
    assert averaged.running_mean.item() == approx(0.1 * 0 + 0.9 * 5)


@pytest.mark.parametrize(
    ("file", "blocks", "momentum", "dropout"),
    [
        param("efficientnet_b0_paper", 16, 0.01, 0.2, id="efficientnet"),
        param("efficientnetv2_s_paper", 40, 0.01, 0.3, id="v2-paper"),
        param("efficientnetv2_s_automl", 40, 0.1, 0.2, id="v2-code"),
    ],
)
def test_the_network_of_a_recipe(file: str, blocks: int, momentum: float, dropout: float) -> None:
    given = settings(file)
    with torch.device("meta"):
        model = build_model(given, task(given))
    assert drop_path_rates(model) == approx([0.2 * i / blocks for i in range(1, blocks)])
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(momentum, 1e-3)}
    assert model.drop_rate == dropout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        param("model.bn_momentum=0", r"^model\.bn_momentum=0: must be in \(0, 1\]", id="momentum"),
        param("model.bn_eps=-1", r"^model\.bn_eps=-1: must be above 0", id="eps"),
    ],
)
def test_settings_of_batch_norms_are_checked(wrong: str, message: str) -> None:
    given = settings("efficientnet_b0_paper", wrong)
    with pytest.raises(UsageError, match=message), torch.device("meta"):
        build_model(given, task(given))


def moved(given: OptimizerConfig, gradient: float, start: float = 0.0) -> list[float]:
    """Where three steps with a constant gradient bring a parameter from ``start``."""
    parameter = nn.Parameter(torch.full((2, 2), start, dtype=torch.float64))
    optimizer = create_optimizer_v2([parameter], **given.timm_options())
    places = []
    for _ in range(3):
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        places.append(parameter[0, 0].item())
    return places


@pytest.mark.parametrize("file", [*RMSPROP, "ghostnetv2_official"])
def test_the_first_updates_are_those_of_tensorflows_rmsprop(file: str) -> None:
    given = replace(settings(file).optimizer, lr=0.1, lr_per=None)
    plain = replace(given, weight_decay=0.0)
    assert moved(plain, gradient=1.0) == approx([-0.09995, -0.289855, -0.560720], abs=5e-7)
    assert moved(plain, gradient=0.01) == approx([-0.001054, -0.003112, -0.006135], abs=5e-7)
    assert given.weight_decay == 1e-5


def test_the_weight_decay_is_part_of_the_gradient() -> None:
    given = replace(settings("efficientnet_b0_paper").optimizer, lr=0.1, lr_per=None, weight_decay=0.01)
    assert moved(given, gradient=0.0, start=1.0)[0] == approx(1 - 0.001054, abs=5e-7)


@pytest.mark.parametrize(
    ("file", "size", "test_size", "magnitude"),
    [
        param("efficientnetv2_s_paper", 300, 384, 15, id="paper"),
        param("efficientnetv2_s_automl", 300, 384, 10, id="code"),
    ],
)
def test_the_images_of_efficientnetv2(file: str, size: int, test_size: int, magnitude: float) -> None:
    given = settings(file)
    assert (given.data.image_size, given.data.resolved_test_size) == (size, test_size)
    randaugment = strategy(given, "randaugment")
    assert (randaugment.magnitude, randaugment.layers) == (magnitude, 2)


@pytest.mark.parametrize(
    ("file", "sizes", "magnitudes", "dropouts"),
    [
        param(
            "efficientnetv2_s_paper", [128, 185, 242, 300], [5, 8.33, 11.67, 15], [0.1, 0.167, 0.233, 0.3], id="paper"
        ),
        param("efficientnetv2_s_automl", [171, 214, 257, 300], [5, 6.67, 8.33, 10], [0.2] * 4, id="code"),
    ],
)
def test_the_stages_of_efficientnetv2(
    file: str, sizes: list[int], magnitudes: list[float], dropouts: list[float]
) -> None:
    given = settings(file)
    stages = strategy(given, "progressive").plan(task(given))
    assert [stage.start for stage in stages] == [0, 88, 175, 262]
    assert [stage.image_size for stage in stages] == sizes
    assert [stage.strengths["randaugment.magnitude"] for stage in stages] == approx(magnitudes, abs=0.005)
    assert [stage.strengths["model.drop_rate"] for stage in stages] == approx(dropouts, abs=0.001)
    assert {stage.strengths["model.drop_path_rate"] for stage in stages} == {0.2}


def test_the_images_of_efficientnet() -> None:
    given = settings("efficientnet_b0_paper")
    assert given.data.crop_pct == 224 / (224 + 32)
    assert strategy(given, "autoaugment").policy == "v0"
    assert strategy(given, "smoothing").amount == 0.1


def test_ghostnetv3_has_the_defaults_of_this_project() -> None:
    given = settings("ghostnetv3")
    assert (strategy(given, "reparam").branches, strategy(given, "ema").decay) == (3, 0.9999)
    assert (strategy(given, "kd").alpha, strategy(given, "kd").tau) == (0.5, 1.0)
