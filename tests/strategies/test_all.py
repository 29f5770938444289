"""What holds for every strategy, alone and joined with every other one that it can be joined with."""

from __future__ import annotations

from itertools import combinations, permutations
from pathlib import Path

import pytest
import torch
from pytest import param
from pytorch_lightning import Callback

from ghostlab.errors import UsageError
from ghostlab.strategies import STRATEGIES, canonical_name, join, load
from ghostlab.strategies.base import Strategy
from tests.strategies.settings import KD_SETTINGS, KD_TERMS, SETTINGS, TASK
from tests.strategies.tiny import BATCH, build, load_batch, training_step

SINGLES = [name for name in STRATEGIES if name != "baseline"]
SCHEDULES = ("cosine", "step", "exponential")
EXCLUDED = [("randaugment", "autoaugment"), *combinations(SCHEDULES, 2)]
PAIRS = [pair for pair in combinations(SINGLES, 2) if pair not in EXCLUDED]
JOINED = ["baseline", *SINGLES, *map("+".join, PAIRS), "ghostnetv3"]


def test_the_table_of_settings_has_every_strategy() -> None:
    assert list(SETTINGS) == list(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_has_its_name_and_says_what_it_does(name: str) -> None:
    strategy = load(name)(**SETTINGS[name])
    assert isinstance(strategy, Strategy)
    assert strategy.name == name
    assert strategy.describe()


@pytest.mark.parametrize("text", JOINED)
def test_a_step_gives_finite_terms_and_gradients(text: str, a_teacher: None) -> None:
    strategies, model = build(join(text))
    images = load_batch(strategies)
    step, loss, terms = training_step(strategies, model, images)
    assert images.shape == step.images.shape == (BATCH, 3, 16, 16)
    assert step.images.dtype == torch.float32
    assert step.targets.shape in [(BATCH,), (BATCH, TASK.num_classes)]
    if step.targets.ndim == 2:
        assert torch.allclose(step.targets.sum(1), torch.ones(BATCH))
    assert set(terms) == ({"ce", "kd"} if "kd" in join(text) else {"ce"})
    loss.backward()
    grads = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("other", [None, *(name for name in SINGLES if name != "kd")])
@pytest.mark.parametrize("kd", KD_SETTINGS)
def test_every_way_to_distill_joins_with_every_strategy(
    kd: str, other: str | None, a_teacher: None, tmp_path: Path
) -> None:
    strategies, model = build(join(f"kd+{other}" if other else "kd"), KD_SETTINGS[kd], tmp_path)
    _, loss, terms = training_step(strategies, model, load_batch(strategies))
    assert set(terms) == {"ce"} | KD_TERMS.get(kd, {"kd"})
    loss.backward()
    beside = [companion for s in strategies if (companion := s.companion()) is not None]
    assert len(beside) == (kd == "feature")
    grads = [parameter.grad for module in (model, *beside) for parameter in module.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


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
