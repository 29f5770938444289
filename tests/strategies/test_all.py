"""What holds for every strategy, alone and joined with every other one that it can be joined with."""

from __future__ import annotations

from itertools import combinations, permutations
from pathlib import Path

import pytest
from pytest import param
from pytorch_lightning import Callback

from ghostlab.errors import UsageError
from ghostlab.strategies import STRATEGIES, canonical_name, join, load
from ghostlab.testing import check_class, check_step
from ghostlab.testing.settings import SETTINGS, TASK
from tests.strategies.settings import KD_SETTINGS, KD_TERMS

SINGLES = [name for name in STRATEGIES if name != "baseline"]
SCHEDULES = ("cosine", "step", "exponential")
EXCLUDED = [("randaugment", "autoaugment"), *combinations(SCHEDULES, 2)]
PAIRS = [pair for pair in combinations(SINGLES, 2) if pair not in EXCLUDED]
JOINED = ["baseline", *SINGLES, *map("+".join, PAIRS), "ghostnetv3"]


def test_the_table_of_settings_has_every_strategy() -> None:
    assert list(SETTINGS) == list(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_has_its_name_and_says_what_it_does(name: str) -> None:
    check_class(load(name), SETTINGS[name])


@pytest.mark.parametrize("text", JOINED)
def test_a_step_gives_finite_terms_and_gradients(text: str) -> None:
    assert check_step(text, SETTINGS) == ({"ce", "kd"} if "kd" in join(text) else {"ce"})


@pytest.mark.parametrize("other", [None, *(name for name in SINGLES if name != "kd")])
@pytest.mark.parametrize("kd", KD_SETTINGS)
def test_every_way_to_distill_joins_with_every_strategy(kd: str, other: str | None, tmp_path: Path) -> None:
    text = f"kd+{other}" if other else "kd"
    assert check_step(text, SETTINGS | {"kd": KD_SETTINGS[kd]}, tmp_path) == {"ce"} | KD_TERMS.get(kd, {"kd"})


@pytest.mark.parametrize("text", JOINED)
def test_at_most_one_schedule_and_only_callbacks_of_lightning(text: str) -> None:
    strategies = [load(name)(**SETTINGS[name]) for name in join(text)]
    schedules = [factor for s in strategies if (factor := s.lr_factor(TASK))]
    assert len(schedules) == bool({*SCHEDULES} & set(join(text)))
    for factor in schedules:
        assert all(0 <= factor(step) <= 1 for step in range(TASK.total_steps + 1))
    callbacks = [callback for s in strategies for callback in s.callbacks()]
    assert len(callbacks) == len({"ema", "reparam"} & set(join(text)))
    assert all(isinstance(callback, Callback) for callback in callbacks)


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_a_pair_is_the_same_run_in_either_order(pair: tuple[str, str]) -> None:
    one, other = "+".join(pair), "+".join(reversed(pair))
    assert join(one) == join(other)
    assert set(join(one)) == set(pair)
    assert canonical_name(join(one)) == canonical_name(join(other)) == "+".join(sorted(pair))


@pytest.mark.parametrize("text", [param("+".join(pair), id="+".join(pair)) for pair in EXCLUDED])
def test_two_for_one_slot_exclude_each_other(text: str) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        join(text)


@pytest.mark.parametrize("name", SINGLES)
def test_baseline_stands_alone(name: str) -> None:
    with pytest.raises(UsageError, match="stands alone"):
        join(f"{name}+baseline")


def test_the_recipe_is_itself_in_any_order_and_with_more() -> None:
    parts = ("reparam", "kd", "cosine", "ema", "randaugment", "erasing")
    orders = list(permutations(parts))[::97]
    assert {canonical_name(join("+".join(order))) for order in orders} == {"ghostnetv3"}
    assert canonical_name(join("smoothing+ghostnetv3")) == "ghostnetv3+smoothing"
    with pytest.raises(UsageError, match="'kd' is named twice"):
        join("kd+ghostnetv3")
