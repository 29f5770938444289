"""What a run's folder is called does not change by accident: frozen hashes, and the default values behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest import param

from ghostlab.runs import CONF, compose, config_hash
from ghostlab.runs.identity import NOT_IDENTITY, SCHEMA, flatten, normalize

DEFAULTS = Path(__file__).with_name("defaults.json")
GROUPS = ("data", "model", "optimizer", "strategy", "trainer")
ADVICE = (
    "folders of runs on disk are found by it: where this is meant, raise SCHEMA in ghostlab/runs/identity.py, write"
    " the new value here or run python -m tests.runs.test_frozen, and say so in the changelog"
)


@pytest.mark.parametrize(
    ("overrides", "digits"),
    [
        param([], "35d07c19", id="defaults"),
        param(["seed=3", "outputs=x"], "35d07c19", id="seed"),
        param(["optimizer=sgd"], "822e054e", id="optimizer"),
        param(["strategy=kd+reparam", "optimizer.lr=0.5"], "f9db3ba3", id="joined"),
        param(["experiment=ghostnetv3", "data=cifar10"], "ef17cb1e", id="recipe"),
        param(["model=timm", "model.name=resnet10t", "data=food101", "data.mean=[0,0,0]"], "2becad06", id="timm"),
        param(["data=imagefolder", "+images=0123456789abcdef", "data.root=x"], "8d8db4f7", id="folder"),
        param(
            ["strategy=kd", "strategy.kd.teacher=[a/b,null]", "data.teacher.model=resnet50"], "723a9c31", id="teachers"
        ),
        param(["trainer.devices=2", "trainer.precision=bf16-mixed", "data.split_seed=4"], "3fed9de0", id="trainer"),
    ],
)
def test_a_hash_stays_what_it_is(overrides: list[str], digits: str) -> None:
    assert config_hash(compose(overrides)) == digits, ADVICE


def test_default_values_stay_what_they_are() -> None:
    frozen, now = json.loads(DEFAULTS.read_text()), defaults()
    changed = {key: (value, now.get(key)) for key, value in frozen.items() if now.get(key) != value}
    assert (SCHEMA, changed) == (2, {}), ADVICE


def defaults() -> dict[str, Any]:
    """The values of all options, as they are written, that make a difference between runs."""
    found = {}
    for file in sorted(CONF.glob("*/*.yaml")):
        if file.parent.name in GROUPS:
            for key, value in flatten(yaml.safe_load(file.read_text())).items():
                if not f"{file.parent.name}.{key}.".startswith(tuple(f"{name}." for name in NOT_IDENTITY)):
                    found[f"{file.parent.name}/{file.stem}/{key}"] = normalize(value)
    return found


if __name__ == "__main__":
    DEFAULTS.write_text(json.dumps(defaults(), indent=0) + "\n")
