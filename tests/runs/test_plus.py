"""Joining strategies by "+" wherever Hydra takes the name of a config."""

from __future__ import annotations

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.runs import CONF, compose, register, strategy_name


@pytest.mark.parametrize(
    ("typed", "nodes"),
    [
        param("kd", {"kd"}, id="one"),
        param("kd+reparam", {"kd", "reparam"}, id="two"),
        param("reparam+kd", {"kd", "reparam"}, id="other-order"),
        param("ema+cosine+mixup", {"ema", "cosine", "mixup"}, id="three"),
        param("ghostnetv3", {"reparam", "kd", "cosine", "ema", "randaugment", "erasing"}, id="recipe"),
        param(
            "ghostnetv3+mixup", {"reparam", "kd", "cosine", "ema", "randaugment", "erasing", "mixup"}, id="recipe-plus"
        ),
    ],
)
def test_a_joined_name_composes_the_files_of_its_parts(typed: str, nodes: set[str]) -> None:
    assert set(compose([f"strategy={typed}"]).strategy) == nodes


def test_a_strategys_value_is_set_by_its_own_key() -> None:
    cfg = compose(["strategy=reparam+kd", "strategy.kd.alpha=0.7"])
    assert cfg.strategy.kd.alpha == 0.7
    assert cfg.strategy.reparam.branches == 3


def test_hydras_own_compose_joins_too() -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert set(hydra_compose("config", ["strategy=cosine+ema"]).strategy) == {"cosine", "ema"}


def test_an_experiment_file_joins_and_the_command_line_overrides_it(tmp_path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /strategy: cosine+ema\ntrainer:\n  max_epochs: 3\n"
    )
    search = f"hydra.searchpath=[file://{tmp_path}]"
    cfg = compose([search, "experiment=mine"])
    assert set(cfg.strategy) == {"cosine", "ema"}
    assert cfg.trainer.max_epochs == 3
    assert set(compose([search, "experiment=mine", "strategy=kd+ema"]).strategy) == {"kd", "ema"}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        param(
            "kd+repram",
            "strategy 'kd+repram': no strategy 'repram'; did you mean 'reparam'? available: autoaug",
            id="unknown",
        ),
        param("kd+kd", "strategy 'kd+kd': 'kd' is named twice", id="twice"),
        param("ghostnetv3+kd", "strategy 'ghostnetv3+kd': 'kd' is named twice", id="twice-by-recipe"),
        param(
            "cosine+step", "'cosine' and 'step' exclude each other, both are a learning-rate schedule", id="excluded"
        ),
        param("randaugment+autoaugment", "'randaugment' and 'autoaugment' exclude each other", id="excluded-policy"),
        param("baseline+kd", "'baseline' means no strategy and stands alone", id="baseline"),
        param("kd+", "no strategy ''", id="empty-part"),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_line(typed: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        compose([f"strategy={typed}"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        param("reparam+kd", "kd+reparam", id="sorted"),
        param("ghostnetv3", "ghostnetv3", id="recipe"),
        param("erasing+randaugment+ema+cosine+kd+reparam", "ghostnetv3", id="recipe-spelled-out"),
        param("mixup+ghostnetv3", "ghostnetv3+mixup", id="recipe-plus"),
        param("baseline", "baseline", id="baseline"),
    ],
)
def test_a_set_of_strategies_has_one_name(typed: str, name: str) -> None:
    assert strategy_name(compose([f"strategy={typed}"])) == name


def test_the_published_recipe_composes_and_yields_to_the_command_line() -> None:
    cfg = compose(["experiment=ghostnetv2_official", "data.root=/images", "trainer.devices=1"])
    assert set(cfg.strategy) == {"step", "ema", "randaugment", "erasing", "smoothing"}
    assert (cfg.optimizer.name, cfg.optimizer.lr, cfg.optimizer.eps) == ("rmsprop", 0.064, 1e-3)
    assert (cfg.trainer.max_epochs, cfg.trainer.devices) == (450, 1)
    assert cfg.strategy.step.warmup_factor * cfg.optimizer.lr == pytest.approx(1e-6)
