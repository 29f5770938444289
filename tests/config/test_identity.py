"""A run's folder and hash are functions of its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest import param

from ghostlab.config import compose, config_hash, run_folder
from ghostlab.config.identity import difference, plain


def test_a_default_run_has_no_hash_in_its_folder() -> None:
    cfg = compose(["strategy=reparam+kd", "data=cifar10", "model=efficientnet_b0", "seed=3"])
    assert run_folder(cfg) == Path("outputs/cifar10/efficientnet_b0/kd+reparam/seed3")


def test_any_other_value_adds_the_hash_of_the_configuration() -> None:
    cfg = compose(["strategy=kd", "strategy.kd.alpha=0.7", "seed=1"])
    assert run_folder(cfg) == Path(f"outputs/digits/ghostnetv2/kd/seed1-{config_hash(cfg)}")
    assert len(config_hash(cfg)) == 8


def test_a_timm_model_given_by_name_has_its_own_folder() -> None:
    assert run_folder(compose(["model=timm", "model.name=resnet10t"])).parts[2] == "resnet10t"


@pytest.mark.parametrize(
    "override",
    [
        param("seed=5", id="seed"),
        param("outputs=elsewhere", id="outputs"),
        param("data.workers=7", id="workers"),
        param("force=true", id="force"),
        param("resume=never", id="resume"),
        param("model.native.train=192", id="native-size"),
        param("objective.metric=tradeoff", id="objective"),
        param("+ablation.design=add_one", id="ablation"),
    ],
)
def test_what_does_not_change_a_runs_numbers_does_not_change_its_hash(override: str) -> None:
    assert config_hash(compose([override])) == config_hash(compose([]))


@pytest.mark.parametrize(
    ("overrides", "digits"),
    [
        param([], "8d46b697", id="defaults"),
        param(["strategy=kd+reparam", "optimizer.lr=0.5"], "9c52c740", id="joined"),
        param(["experiment=ghostnetv3", "data=cifar10"], "c4eb9533", id="recipe"),
    ],
)
def test_the_hash_of_runs_that_are_on_disk_stays_what_it_is(overrides: list[str], digits: str) -> None:
    assert config_hash(compose(overrides)) == digits


def test_a_key_that_only_begins_like_another_counts() -> None:
    assert config_hash(compose(["+outputs_of=1"])) != config_hash(compose([]))


def test_a_models_own_image_sizes_are_the_default_ones() -> None:
    images = ["data=imagenet", "data.root=null", "model=efficientnetv2_s"]
    assert config_hash(compose([*images, "data.image_size=300", "data.test_size=384"])) == config_hash(compose(images))
    assert config_hash(compose([*images, "data.image_size=224"])) != config_hash(compose(images))


@pytest.mark.parametrize(
    "override",
    [
        param("trainer.max_epochs=11", id="epochs"),
        param("optimizer.lr=0.5", id="lr"),
        param("data.batch_size=7", id="batch-size"),
        param("model.width=1.3", id="width"),
        param("model.depth=1.3", id="depth"),
        param("strategy=ema", id="strategy"),
    ],
)
def test_what_changes_a_runs_numbers_changes_its_hash(override: str) -> None:
    assert config_hash(compose([override])) != config_hash(compose([]))


def test_a_knob_of_later_changes_the_hash_only_where_it_is_not_as_before() -> None:
    before = compose(["strategy=reparam"])
    del before.strategy.reparam.norm
    assert config_hash(compose(["strategy=reparam"])) == config_hash(before)
    assert difference(plain(compose(["strategy=reparam"])), plain(before)) is None
    assert config_hash(compose(["strategy=reparam", "strategy.reparam.norm=sum"])) != config_hash(before)


def test_the_order_in_which_strategies_are_joined_does_not_change_the_hash() -> None:
    assert config_hash(compose(["strategy=kd+ema"])) == config_hash(compose(["strategy=ema+kd"]))


def test_a_whole_number_is_the_same_value_however_it_is_written() -> None:
    assert config_hash(compose(["optimizer.lr=1"])) == config_hash(compose(["optimizer.lr=1.0"]))


def test_the_difference_of_two_runs_names_the_first_key() -> None:
    one, two = plain(compose(["optimizer.lr=0.5"])), plain(compose([]))
    assert difference(one, one) is None
    assert difference(one, two) == f"optimizer.lr=0.5 here, {two['optimizer']['lr']} there"
