"""Which run a configuration is: its hash and its folder, functions of the configuration and of its images' content."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ghostlab.files import folder_name
from ghostlab.modules import imported, is_function, version_of
from ghostlab.runs.compose import CONF
from ghostlab.strategies.registry import canonical_name, knobs, plugged

__all__ = [
    "SCHEMA",
    "config_difference",
    "config_hash",
    "flatten",
    "identity",
    "identity_values",
    "images_digest",
    "named_overrides",
    "normalize",
    "plugin_versions",
    "read_option",
    "run_folder",
    "strategy_name",
    "to_plain_dict",
]

Config = DictConfig | dict[str, Any]
"""A composed configuration, whose images are those that are there now, or the content of a run's ``config.yaml``."""

SCHEMA = 2
"""Of the hash. A new one gives all runs that are not the default ones other folders: for a change of what a value does,
or of a default value, which the hash does not have. A key that is added with a default value needs none."""

# What does not change a run's numbers: where it is kept, how it is started, how its data is loaded (the augmentation of
# an image depends on the seed, the epoch and its index only), what is read off the data, what gives only defaults, what
# only says whether a run may go on, and what a sweep makes of its runs. A name stands for all that is below it.
NOT_IDENTITY = (
    "outputs",
    "resume",
    "force",
    "seed",
    "images",
    "plugins",
    "plugged",
    "data.workers",
    "data.eval_batch_size",
    "data.decoded",
    "data.decoded_gib",
    "data.download",
    "data.on_error",
    "data.allow_leak",
    "data.num_classes",
    "data.class_names",
    "data.stem_stride",
    "data.factory",
    "model.factory",
    "model.native.train",
    "model.native.test",
    "strategy.kd.cache_folder",
    "logger",
    "trainer.cpu_kernels",
    "trainer.tensorboard",  # of earlier versions
    "objective",
    "ablation",
)
BELOW = tuple(f"{name}." for name in NOT_IDENTITY)

DEFAULT_OPTIMIZER = "adamw"
GIVEN = "???"
"""The default of ``data.root`` where the data is a folder of the user's, known by the content of its images."""
WHERE = ("data.root", "data.val_fraction", "data.split_seed")
"""What the content of both halves stands for, where it is known."""


def to_plain_dict(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain containers; a value that is still missing stays ``"???"``."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)  # type: ignore[return-value]


def strategy_name(cfg: Config) -> str:
    """The canonical name of the joined strategies, such as ``kd+reparam``."""
    return canonical_name(tuple(map(str, cfg["strategy"])))


def config_hash(cfg: Config) -> str:
    """Eight hex digits that are the same for two configurations exactly if they differ in nothing but the seed.

    They are made of names and of what is not the default: a key that a later version adds changes no hash.
    """
    text = json.dumps([SCHEMA, _names(cfg), _changes(cfg)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_folder(cfg: DictConfig) -> Path:
    """``<outputs>/<data>/<model>/<strategy>/seed<seed>``, with ``-<hash>`` where anything else is not the default."""
    data, model, strategy, optimizer = _names(cfg)
    suffix = f"-{config_hash(cfg)}" if optimizer != DEFAULT_OPTIMIZER or _changes(cfg) else ""
    return Path(cfg.outputs) / folder_name(data) / folder_name(model) / strategy / f"seed{cfg.seed}{suffix}"


def config_difference(ours: Config, theirs: Config) -> str | None:
    """The first key, with both values, in which two configurations are different runs."""
    one, two = identity(ours), identity(theirs)
    for key in sorted({*one, *two}):
        if one.get(key) != two.get(key):
            return f"{key}={one.get(key)} here, {two.get(key)} there"
    return None


def identity(cfg: Config) -> dict[str, Any]:
    """All that makes two configurations different runs but for the seed: values by dotted key.

    A folder of images counts with their content and how they are split, wherever it lies, and so do those that a
    function of the user's makes; a set that is downloaded, by its name.
    """
    own = identity_values(cfg)
    root = _defaults(cfg).get("data.root")
    if _known_by_content(cfg) and (content := images_digest(cfg)):
        return {key: value for key, value in own.items() if key not in WHERE} | {"images": content}
    return own if root in (None, GIVEN) else {key: value for key, value in own.items() if key != "data.root"}


def identity_values(cfg: Config) -> dict[str, Any]:
    """Every value that may change a run's numbers, by dotted key and written one way.

    Keys that a configuration lacks, as it was written before they were there, have their default values, and so have
    those that this run makes no use of.
    """
    defaults = _defaults(cfg)
    own = defaults | _kept(cfg)
    if own.get("data.test_size") is None:
        own["data.test_size"] = own.get("data.image_size")
    match own.get("strategy.kd.teacher"):
        case [teacher]:
            own["strategy.kd.teacher"] = teacher
    own |= {f"plugged.{name}": version for name, version in plugin_versions(cfg).items()}
    unused = tuple(_unused(own))
    return defaults | {key: value for key, value in own.items() if not key.startswith(unused)}


def plugin_versions(cfg: Config) -> dict[str, str]:
    """Strategies, model and data from outside with their versions: those of now or, in a run's file, of then."""
    if "plugged" in cfg or not isinstance(cfg, DictConfig):
        return cfg.get("plugged") or {}
    found = plugged(tuple(map(str, cfg.strategy)))
    for group in ("data", "model"):
        if is_function(name := str(cfg[group].name)):
            found[name] = version_of(imported(name.partition(":")[0], f"{group}.factory={name}"))
    return found


def images_digest(cfg: Config) -> str | None:
    """A digest of the images of a folder or of a function of the user's, in their order, with their classes and which
    of them validate.

    None for any other data, for images that cannot be read, and for runs of versions that did not write it down.
    """
    if "images" in cfg or not isinstance(cfg, DictConfig):
        return cfg.get("images")
    if not _known_by_content(cfg) or OmegaConf.is_missing(cfg.data, "root"):
        return None
    from ghostlab.data.manifest import current_manifest  # which imports torch

    found = current_manifest(to_plain_dict(cfg.data))
    return found.digest if found else None


def named_overrides(group: str, name: str) -> list[str]:
    """How a command line names data, a model or an optimizer: by its file in ``conf/``, a function, or timm's name."""
    option = _option(group, name)
    if option == "custom":
        return [f"{group}=custom", f"{group}.factory={name}"]
    return [f"{group}={option}"] if option == name else [f"{group}={option}", f"{group}.name={name}"]


def _known_by_content(cfg: Config) -> bool:
    return _defaults(cfg).get("data.root") == GIVEN or is_function(str(cfg["data"]["name"]))


def _names(cfg: Config) -> tuple[str, str, str, str]:
    """Of data, model, strategies and optimizer, each of which has default values of its own."""
    optimizer = cfg.get("optimizer") or {}
    return (
        str(cfg["data"]["name"]),
        str(cfg["model"]["name"]),
        strategy_name(cfg),
        str(optimizer.get("name", DEFAULT_OPTIMIZER)),
    )


def _changes(cfg: Config) -> dict[str, Any]:
    defaults = _defaults(cfg)
    return {key: value for key, value in identity(cfg).items() if key not in defaults or value != defaults[key]}


def _kept(cfg: Config) -> dict[str, Any]:
    given = flatten(to_plain_dict(cfg) if isinstance(cfg, DictConfig) else cfg)
    return {key: normalize(value) for key, value in given.items() if not f"{key}.".startswith(BELOW)}


def _unused(own: dict[str, Any]) -> Iterator[str]:
    """Beginnings of keys that do nothing beside the others."""
    teacher = own.get("strategy.kd.teacher", "")
    if None not in (teacher if isinstance(teacher, list) else [teacher]):
        yield "data.teacher"
    crop = own.get("data.crop")
    if crop != "resized":
        yield "data.crop_scale"
    if crop != "padded":
        yield "data.crop_padding"


def _defaults(cfg: Config) -> dict[str, Any]:
    """The values of the options that a configuration names, without the choice of any other value."""
    data, model, _, optimizer = _names(cfg)
    return _of_options(data, model, optimizer, tuple(map(str, cfg["strategy"])))


@cache
def _of_options(data: str, model: str, optimizer: str, strategies: tuple[str, ...]) -> dict[str, Any]:
    # Composed by hand, which is fifty times faster than Hydra: these options have no defaults lists.
    chosen = {"data": data, "model": model, "optimizer": optimizer}
    nodes = {group: _option(group, name) for group, name in chosen.items()}
    options = {group: read_option(group, name) for group, name in {**nodes, "trainer": "default"}.items()}
    if is_function(data):
        options["data"] |= {"name": data}
    options["model"] |= {"name": model}
    options["optimizer"] |= {"name": optimizer}
    options["strategy"] = {key: value for name in strategies for key, value in read_option("strategy", name).items()}
    try:
        found = _kept(OmegaConf.create({"outputs": "outputs", **{key: node for key, node in options.items() if node}}))
    except OmegaConfBaseException:  # a data set of another version has no values that the model takes over
        return {}
    if found.get("data.test_size") is None:
        found["data.test_size"] = found.get("data.image_size")
    return found


def read_option(group: str, name: str) -> dict[str, Any]:
    """The content of an option's file, unresolved; nothing for one that this version has not."""
    if group == "strategy" and plugged((name,)):
        return {name: knobs(name)}
    file = CONF / group / f"{name}.yaml"
    return OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}  # type: ignore[return-value]


def _option(group: str, name: str) -> str:
    if is_function(name):
        return "custom"
    return name if group == "data" or (CONF / group / f"{name}.yaml").exists() else "timm"


def normalize(value: Any) -> Any:
    """``1``, ``1.0`` and ``'1'`` are one number, ``data``, ``./data/`` and its absolute path one place."""
    if isinstance(value, (list, tuple)):
        return [normalize(one) for one in value]
    if isinstance(value, str):
        with suppress(ValueError):
            if math.isfinite(number := float(value)):
                return normalize(number)
        return _place(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested dictionaries by dotted key; an empty dictionary is a value."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    joined = (flatten(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items())
    return {key: value for part in joined for key, value in part.items()}


def _place(text: str) -> str:
    if "/" not in text or "://" in text:
        return text
    path, here = Path(os.path.normpath(text)), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
