"""Which run a configuration is: its hash and its folder, both functions of the configuration alone."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ghostlab.config.compose import CONF, compose
from ghostlab.strategies.registry import canonical_name

__all__ = ["config_hash", "difference", "identity", "model_overrides", "plain", "run_folder", "strategy_name"]

# What does not change a run's numbers: where it is kept, how it is started, how its data is loaded (the augmentation of
# an image depends on the seed, the epoch and its index only), what is read off the data, what gives only defaults, and
# what a sweep makes of its runs. A name stands for all that is below it.
NOT_IDENTITY = (
    "outputs",
    "resume",
    "force",
    "seed",
    "data.workers",
    "data.eval_batch_size",
    "data.decoded",
    "data.decoded_gib",
    "data.download",
    "data.num_classes",
    "data.class_names",
    "model.native.train",
    "model.native.test",
    "strategy.kd.cache_folder",
    "trainer.tensorboard",
    "objective",
    "ablation",
)
BELOW = tuple(f"{name}." for name in NOT_IDENTITY)

LATER = {"strategy.reparam.norm": "branches"}
"""Keys that runs on disk do not have, with the value that they had nonetheless: what is as it was keeps its folder."""


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain containers; a value that is still missing stays ``"???"``."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)  # type: ignore[return-value]


def strategy_name(cfg: DictConfig) -> str:
    """The canonical name of the joined strategies, such as ``kd+reparam``."""
    return canonical_name(tuple(str(name) for name in cfg.strategy))


def config_hash(cfg: DictConfig) -> str:
    """Eight hex digits that are the same for two configurations exactly if they differ in nothing but the seed."""
    text = json.dumps({key: _number(value) for key, value in identity(cfg).items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_folder(cfg: DictConfig) -> Path:
    """``<outputs>/<data>/<model>/<strategy>/seed<seed>``, with ``-<hash>`` where anything else is not the default."""
    data, model, strategy = cfg.data.name, cfg.model.name, strategy_name(cfg)
    digits = config_hash(cfg)
    suffix = "" if digits == _default_hash(data, _model_option(model), strategy) else f"-{digits}"
    return Path(cfg.outputs) / data / model.replace("/", "_") / strategy / f"seed{cfg.seed}{suffix}"


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first key, with both values, in which two plain configurations are different runs."""
    one, two = _flat(identity(ours)), _flat(identity(theirs))
    for key in sorted({*one, *two}):
        if one.get(key) != two.get(key):
            return f"{key}={one.get(key)} here, {two.get(key)} there"
    return None


@cache
def _default_hash(data: str, model: str, strategy: str) -> str:
    return config_hash(compose([f"data={data}", f"model={model}", f"strategy={strategy}"]))


def model_overrides(name: str) -> list[str]:
    """How a command line names a model: by its file in ``conf/model``, or as one of timm's."""
    option = _model_option(name)
    return [f"model={option}"] if option == name else [f"model={option}", f"model.name={name}"]


def _model_option(name: str) -> str:
    return name if (CONF / "model" / f"{name}.yaml").exists() else "timm"


def identity(cfg: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """All that makes two configurations different runs but for the seed: values by dotted key."""
    flat = _flat(plain(cfg) if isinstance(cfg, DictConfig) else cfg)
    kept = {key: value for key, value in flat.items() if not f"{key}.".startswith(BELOW)}
    return {key: value for key, value in kept.items() if key not in LATER or value != LATER[key]}


def _number(value: Any) -> Any:
    """``tau=1`` and ``tau=1.0`` are the same run."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    joined = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items())
    return {key: value for part in joined for key, value in part.items()}
