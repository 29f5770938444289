"""The stages of progressive learning, against the values of the paper and of the authors' code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pytest import approx, param

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.strategies.base import Task
from ghostlab.strategies.mixup import Mixup
from ghostlab.strategies.progressive import Progressive, evenly, stage_sizes, stage_starts
from ghostlab.strategies.randaugment import RandAugment

TASK = Task(
    num_classes=10,
    image_size=300,
    mean=(0.5,) * 3,
    std=(0.2,) * 3,
    epochs=12,
    steps_per_epoch=5,
    strengths={"randaugment.magnitude": 15.0, "mixup.alpha": 0.2, "model.drop_rate": 0.3, "model.drop_path_rate": 0.2},
)


@pytest.mark.parametrize(
    ("schedule", "last", "sizes"),
    [
        param("paper", 300, [128, 185, 242, 300], id="S-paper"),
        param("paper", 380, [128, 212, 296, 380], id="M-paper"),
        param("automl", 300, [171, 214, 257, 300], id="S-automl"),
        param("automl", 384, [192, 256, 320, 384], id="M-automl"),
        param("automl", 192, [144, 160, 176, 192], id="B0-automl"),
    ],
)
def test_sizes_are_the_published_ones(schedule: str, last: int, sizes: list[int]) -> None:
    assert stage_sizes(schedule, 128, last, 4) == sizes
    assert [stage.image_size for stage in planned(schedule=schedule, size=128, image_size=last)] == sizes


@pytest.mark.parametrize(
    ("first", "last", "values"),
    [
        param(5, 15, [5, 8.33, 11.67, 15], id="magnitude-S"),
        param(5, 25, [5, 11.67, 18.33, 25], id="magnitude-L"),
        param(0, 0.5, [0, 0.167, 0.333, 0.5], id="mixup-L"),
        param(0.1, 0.4, [0.1, 0.2, 0.3, 0.4], id="dropout-M"),
    ],
)
def test_strengths_grow_evenly(first: float, last: float, values: list[float]) -> None:
    assert evenly(first, last, 4) == approx(values, abs=0.005)
    assert evenly(first, last, 1) == [last]


def test_sizes_may_be_multiples_and_the_last_one_stays() -> None:
    assert stage_sizes("paper", 128, 300, 4, 32) == [128, 192, 256, 300]
    assert stage_sizes("paper", 128, 300, 1) == [300]


@pytest.mark.parametrize(
    ("epochs", "stages", "starts"), [(350, 4, [0, 88, 175, 262]), (10, 4, [0, 2, 5, 8]), (4, 4, [0, 1, 2, 3])]
)
def test_stages_are_equal_parts_in_whole_epochs(epochs: int, stages: int, starts: list[int]) -> None:
    assert stage_starts(epochs, stages) == starts


def planned(image_size: int = 300, **knobs: Any) -> list[Any]:
    return list(Progressive(**knobs).plan(replace(TASK, image_size=image_size)))


def test_the_paper_schedules_everything_but_stochastic_depth() -> None:
    stages = planned()
    assert [stage.start for stage in stages] == [0, 3, 6, 9]
    assert [stage.image_size for stage in stages] == [128, 185, 242, 300]
    assert dict(stages[0].strengths) == approx(
        {"randaugment.magnitude": 5, "mixup.alpha": 0, "model.drop_rate": 0.1, "model.drop_path_rate": 0.2}
    )
    assert dict(stages[1].strengths) == approx(
        {
            "randaugment.magnitude": 25 / 3,
            "mixup.alpha": 0.2 / 3,
            "model.drop_rate": 0.5 / 3,
            "model.drop_path_rate": 0.2,
        }
    )
    assert stages[-1].strengths == TASK.strengths


def test_the_code_leaves_dropout_as_it_is() -> None:
    assert [stage.strengths["model.drop_rate"] for stage in planned(schedule="automl")] == [0.3] * 4
    assert [stage.strengths["randaugment.magnitude"] for stage in planned(schedule="automl")] == approx(
        [5, 25 / 3, 35 / 3, 15]
    )


def test_what_is_not_joined_is_not_scheduled() -> None:
    [first, *_] = Progressive().plan(replace(TASK, strengths={"model.drop_rate": 0.3}))
    assert list(first.strengths) == ["model.drop_rate"]


def test_lists_are_a_schedule_of_ones_own() -> None:
    stages = planned(
        stages=2,
        epochs=[2, 10],
        size=[160, 300],
        magnitude=[1, 15],
        mixup=[0.4, 0.2],
        dropout=[0, 0.3],
        droppath=[0.1, 0.2],
    )
    assert [(stage.start, stage.image_size) for stage in stages] == [(0, 160), (2, 300)]
    assert [list(stage.strengths.values()) for stage in stages] == [[1, 0.4, 0, 0.1], [15, 0.2, 0.3, 0.2]]


def test_small_images_begin_at_the_same_share_and_not_below_what_a_ghostnet_needs() -> None:
    assert [stage.image_size for stage in planned(image_size=64)] == [27, 39, 51, 64]
    assert [stage.image_size for stage in planned(image_size=24)] == [16, 18, 21, 24]
    assert [stage.image_size for stage in planned(image_size=12)] == [12] * 4


def test_it_says_what_grows() -> None:
    strategy = Progressive()
    strategy.plan(TASK)
    assert strategy.describe() == (
        "4 stages (paper) of 128/185/242/300 px from epochs 1/4/7/10, randaugment.magnitude 5 to 15,"
        " mixup.alpha 0 to 0.2, model.drop_rate 0.1 to 0.3"
    )


def test_a_strategy_in_a_stage_has_its_strength_and_is_left_out_at_zero() -> None:
    assert RandAugment(layers=3).at({"randaugment.magnitude": 5.5}) == RandAugment(layers=3, magnitude=5.5)
    assert Mixup().at({"mixup.alpha": 0.0}) is None
    mixup = Mixup()
    assert mixup.at({"randaugment.magnitude": 0.0}) is mixup


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"schedule": "papre"}, r"strategy\.progressive\.schedule=papre: .*did you mean 'paper'"),
        ({"stages": 0}, r"strategy\.progressive\.stages=0: must be a whole number, at least 1"),
        ({"stages": 13}, r"strategy\.progressive\.stages=13: must not be above trainer\.max_epochs=12"),
        ({"size": 301}, r"strategy\.progressive\.size=301: must not be above data\.image_size=300"),
        ({"size": [128, 300]}, r"strategy\.progressive\.size=\[128, 300\]: must have one value for each of 4 stages"),
        ({"size": [1, 2, 3, 4]}, r"size=\[1, 2, 3, 4\]: the last one must be data\.image_size=300"),
        ({"size": 12.5}, r"strategy\.progressive\.size=12\.5: must be a whole number"),
        ({"round_to": 512}, r"strategy\.progressive\.round_to=512: .*data\.image_size=300"),
        ({"epochs": [1, 2, 3, 4]}, r"epochs=\[1, 2, 3, 4\]: must add up to trainer\.max_epochs=12"),
        ({"magnitude": 31}, r"strategy\.progressive\.magnitude=31: must be within \[0, 30\]"),
        ({"dropout": [0, 0, 0, 1]}, r"strategy\.progressive\.dropout=1: must be within \[0, 1\)"),
        ({"mixup": "weak"}, r"strategy\.progressive\.mixup=weak: must be within"),
    ],
)
def test_what_cannot_be_is_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(**knobs)


@pytest.mark.parametrize(
    ("model", "sizes", "refused"),
    [
        param("vit_tiny_patch16_224", [96, 224], 96, id="a size of its own"),
        param("test_resnet", [96, 160], None, id="any size"),
    ],
)
def test_a_size_that_the_model_cannot_take_is_named_before_training(
    model: str, sizes: list[int], refused: int | None
) -> None:
    strategy = Progressive(stages=2, size=sizes)
    strategy.plan(replace(TASK, image_size=sizes[-1]))
    built = create_model(model, num_classes=4).train()
    if refused is None:
        strategy.prepare(built, TASK, None)  # type: ignore[arg-type]
    else:
        with pytest.raises(
            UsageError, match=rf"^strategy\.progressive\.size=.*: .* images of {refused} px \(Input height"
        ):
            strategy.prepare(built, TASK, None)  # type: ignore[arg-type]
    assert built.training
