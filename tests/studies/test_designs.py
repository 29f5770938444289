"""Which combinations a design compares, and with what."""

from __future__ import annotations

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.studies.ablation import DESIGNS, LARGEST_FACTORIAL, ablated_parts


def made(design: str, parts: list[str], base: str = "baseline") -> list[tuple[str, str, str | None, str]]:
    variants = DESIGNS[design](parts, base)
    return [(one.name, one.overrides[0].removeprefix("strategy="), one.reference, one.subject) for one in variants]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        param(["kd+ema"], ["kd", "ema"], id="joined"),
        param(["ema+kd", "cosine"], ["ema+kd", "cosine"], id="several"),
        param(["kd+ema", "ema+kd"], ["ema+kd"], id="the-same"),
        param(["ghostnetv3"], ["reparam", "randaugment", "erasing", "kd", "cosine", "ema"], id="recipe"),
        param(["ghostnetv3", "mixup"], ["ghostnetv3", "mixup"], id="recipe-as-a-part"),
        param(["baseline", "kd"], ["kd"], id="baseline"),
    ],
)
def test_what_is_ablated(values: list[str], parts: list[str]) -> None:
    assert ablated_parts(values) == parts


def test_each_strategy_alone_is_compared_with_the_base() -> None:
    assert made("add_one", ["kd", "ema"]) == [
        ("baseline", "baseline", None, ""),
        ("kd", "kd", "baseline", "kd"),
        ("ema", "ema", "baseline", "ema"),
    ]
    assert made("add_one", ["kd"], base="cosine") == [
        ("cosine", "cosine", None, ""),
        ("cosine+kd", "cosine+kd", "cosine", "kd"),
    ]


def test_all_is_compared_with_all_but_one() -> None:
    assert made("leave_one_out", ["kd", "ema", "step"]) == [
        ("all", "ema+kd+step", None, ""),
        ("without kd", "ema+step", "all", "kd"),
        ("without ema", "kd+step", "all", "ema"),
        ("without step", "ema+kd", "all", "step"),
    ]
    assert all(one.removed for one in DESIGNS["leave_one_out"](["kd", "ema"], "baseline")[1:])
    assert made("leave_one_out", ["kd"])[1] == ("without kd", "baseline", "all", "kd")


def test_a_factorial_has_every_subset_that_can_be_joined() -> None:
    names = [name for name, *_ in made("factorial", ["kd", "cosine", "step"])]
    assert names == ["baseline", "kd", "cosine", "step", "cosine+kd", "kd+step"]


def test_the_variants_of_a_recipe_carry_its_name() -> None:
    assert made("leave_one_out", ablated_parts(["ghostnetv3"]))[0][1] == "ghostnetv3"


@pytest.mark.parametrize(
    ("design", "parts", "base", "message"),
    [
        param("add_one", ["kd"], "kd", "'kd' is named twice", id="base-has-it"),
        param("leave_one_out", ["cosine", "step"], "baseline", "exclude each other", id="excluded"),
        param("factorial", ["kdd"], "baseline", "no strategy 'kdd'; did you mean 'kd'?", id="unknown"),
        param("factorial", ["kd"] * (LARGEST_FACTORIAL + 1), "baseline", "too many", id="too-many"),
    ],
)
def test_what_cannot_be_made_is_refused(design: str, parts: list[str], base: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        DESIGNS[design](parts, base)


def test_a_baseline_alone_is_no_ablation() -> None:
    with pytest.raises(UsageError, match="an ablation needs strategies"):
        ablated_parts(["baseline"])
