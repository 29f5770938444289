"""What is refused of a configuration as a whole.

Keys that nothing reads, two keys with one meaning, and Hydra's own settings that have no effect here: where runs are
kept is ``outputs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple, get_type_hints

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from ghostlab.errors import UsageError, unknown
from ghostlab.runs.identity import read_option
from ghostlab.shell import command
from ghostlab.strategies.checks import require

__all__ = [
    "IneffectiveKey",
    "check_keys",
    "ineffective_keys",
    "refuse_hydra_key",
    "refuse_hydra_settings",
    "refuse_ineffective_keys",
    "refuse_sweep_settings",
    "refuse_unknown_beforehand",
]

GROUPS = ("model", "data", "strategy", "optimizer", "trainer", "logger")
KEYS = (*GROUPS, "objective", "plugins", "seed", "outputs", "resume", "force")


def check_keys(cfg: DictConfig) -> None:
    """Raise ``UsageError`` for a key that nothing reads or that is missing, and for ``outputs`` that is no folder."""
    for key in map(str, cfg):
        if key not in (*KEYS, "ablation"):
            raise UsageError(f"{key}: {unknown('key', key, KEYS)}")
    for key in KEYS:
        if key not in cfg:
            raise UsageError(f"{key} must be given, as in {key}=<value>")
    for key in GROUPS:
        require(isinstance(cfg[key], DictConfig), key, cfg[key], "must be chosen; see --help for the options")
    objective, outputs = cfg.objective, cfg.outputs
    require(isinstance(objective, DictConfig), "objective", objective, "it has keys, as in objective.metric=top1")
    number = isinstance(outputs, int | float) and not isinstance(outputs, bool)
    require(not number, "outputs", outputs, "is a number; for a folder of that name, outputs=./<name>")
    folder = isinstance(outputs, str) and outputs.strip()
    require(folder, "outputs", outputs, "must be a folder, as in outputs=outputs")


Config = Mapping[str, Any]
DECIDED: dict[str, tuple[Any, str]] = {
    "layout": ("training", "a run trains in that layout, and tools/fuse.py makes the other"),
    "features_only": (False, "a run needs logits"),
}
"""Options of ``create_model`` that a run decides itself: the value they may have, and why."""


class IneffectiveKey(NamedTuple):
    """A ``key`` whose value was given and has no effect, for ``other`` says the same otherwise."""

    key: str
    value: Any
    other: str


def refuse_ineffective_keys(config: Config) -> None:
    """``UsageError`` for the first key of a plain, composed configuration that another one passes over, or the run."""
    for option, (allowed, reason) in DECIDED.items():
        if config["model"].get(option, allowed) != allowed:
            raise UsageError(f"model.{option}={config['model'][option]}: {reason}; leave it out")
    for key, value, other in ineffective_keys(config):
        raise UsageError(f"{key}={value}: has no effect, as {other}; give one of the two")


def ineffective_keys(config: Config) -> Iterator[IneffectiveKey]:
    """Every such key. Given is what is not the default of the option that the data or the model was chosen by."""
    model, data = config["model"], config["data"]
    size, stride = data["image_size"], model.get("stem_stride") or 2
    native = model.get("native") or {}
    if stride != data["stem_stride"] and _is_given(config, "data", "stem_stride"):
        yield IneffectiveKey("data.stem_stride", data["stem_stride"], f"model.stem_stride={stride}")
    if native and _is_given(config, "model", "native", "train") and native["train"] != size:
        yield IneffectiveKey("model.native.train", native["train"], f"data.image_size={size}")
    if native and _is_given(config, "model", "native", "test") and native["test"] != (data.get("test_size") or size):
        yield IneffectiveKey("model.native.test", native["test"], f"data.test_size={data.get('test_size') or size}")
    if model.get("pretrained") and model.get("checkpoint_path"):
        yield IneffectiveKey(
            "model.pretrained", model["pretrained"], f"model.checkpoint_path={model['checkpoint_path']}"
        )
    if "num_classes" in model:
        yield IneffectiveKey(
            "model.num_classes", model["num_classes"], "data.num_classes or the class folders say how many"
        )
    if model.get("in_chans", len(data["mean"])) != len(data["mean"]):
        yield IneffectiveKey(
            "model.in_chans", model["in_chans"], f"data.mean={data['mean']} is of {len(data['mean'])} colours"
        )
    yield from _teacher(config)


def _teacher(config: Config) -> Iterator[IneffectiveKey]:
    named = (config["strategy"].get("kd") or {}).get("teacher")
    if named and None not in (named if isinstance(named, list) else [named]):
        for key in ("model", "overrides"):
            if _is_given(config, "data", "teacher", key):
                yield IneffectiveKey(
                    f"data.teacher.{key}", config["data"]["teacher"].get(key), f"strategy.kd.teacher={named}"
                )


def _is_given(config: Config, group: str, *path: str) -> bool:
    """Whether a value is there and not that of its option; of an option that is the user's own nothing is known."""
    own: Any = config[group]
    default: Any = read_option(group, str(own["name"]))
    if not default:
        return False
    for key in path:
        own, default = ((node or {}).get(key) for node in (own, default))
    return own is not None and own != default


OURS: dict[str, tuple[object, ...]] = {
    "hydra.run.dir": (".",),
    "hydra.sweep.dir": ("${outputs}",),
    "hydra.sweep.subdir": (".",),
    "hydra.job.chdir": (None, False),
    "hydra.output_subdir": (None,),
}
"""Hydra's settings with the values that they may have."""
BEFOREHAND = re.compile(r"\$\{hydra:(job\.(num|id)|runtime\.output_dir)\}")
FOLDER = "a run's folder is <outputs>/<data>/<model>/<strategy>/seed<seed>; use outputs=<folder>"
WHY = {
    "hydra.job.chdir": "runs stay where they are started, so that the paths they print lead somewhere from there",
    "hydra.output_subdir": "the config.yaml in a run's folder says what it was made of",
}


def refuse_hydra_key(key: str, value: object, line: str) -> None:
    """Raise ``UsageError`` for an override ``line`` that sets what Hydra does not know or what has no effect here."""
    _require_known(key, line)
    for name, ours in OURS.items():
        if key == name and value not in ours:
            raise UsageError(f"{line}: {WHY.get(name, FOLDER)}")


def refuse_hydra_settings(hydra: Any) -> None:
    """The same for the composed ``hydra`` node, whose values may come from a file; raises ``UsageError``."""
    written: Any = OmegaConf.to_container(hydra, resolve=False)
    for name, ours in OURS.items():
        value = reduce(getitem, name.split(".")[1:], written)
        if value not in ours:
            raise UsageError(f"{name}={value}: {WHY.get(name, FOLDER)}")


def refuse_unknown_beforehand(cfg: DictConfig) -> None:
    """Raise ``UsageError`` where a value depends on what Hydra knows only once a run has begun."""
    if found := BEFOREHAND.search(OmegaConf.to_yaml(cfg)):
        raise UsageError(f"{found[0]}: is not known before a run begins, and a run's folder depends on all its values")


def refuse_sweep_settings(hydra: Any) -> None:
    """Raise ``UsageError`` where a single run is given what only a sweep can use."""
    for part, plain in (("launcher", "BasicLauncher"), ("sweeper", "BasicSweeper")):
        name = str(hydra[part].get("_target_")).rpartition(".")[2]
        if name != plain:
            chosen = hydra.runtime.choices.get(f"hydra/{part}")
            raise UsageError(f"hydra/{part}={chosen}: is of a sweep, {command('train.py', '-m')} ...")
    if params := hydra.sweeper.get("params"):
        raise UsageError(f"hydra.sweeper.params={params}: is of a sweep, {command('train.py', '-m')} ...")


def _require_known(key: str, line: str) -> None:
    """Hydra adds any key to its own node without a word."""
    place: Any = HydraConf
    for part in key.split(".")[1:]:
        if not is_dataclass(place):
            return
        known = [field.name for field in fields(place)]
        if part not in known:
            raise UsageError(f"{line}: {unknown('key', part, known)}")
        place = get_type_hints(place)[part]
