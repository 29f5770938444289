"""Two keys with one meaning: where both are given and differ, one would be passed over without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ghostlab.errors import UsageError
from ghostlab.runs.identity import option_of

__all__ = ["Passed", "passed_over", "refuse_two_values"]

Config = Mapping[str, Any]
DECIDED: dict[str, tuple[Any, str]] = {
    "layout": ("training", "a run trains in that layout, and tools/fuse.py makes the other"),
    "features_only": (False, "a run needs logits"),
}
"""Options of ``create_model`` that a run decides itself: the value they may have, and why."""


class Passed(NamedTuple):
    """A ``key`` whose value was given and has no effect, for ``other`` says the same otherwise."""

    key: str
    value: Any
    other: str


def refuse_two_values(config: Config) -> None:
    """``UsageError`` for the first key of a plain, composed configuration that another one passes over, or the run."""
    for option, (allowed, reason) in DECIDED.items():
        if config["model"].get(option, allowed) != allowed:
            raise UsageError(f"model.{option}={config['model'][option]}: {reason}; leave it out")
    for key, value, other in passed_over(config):
        raise UsageError(f"{key}={value}: has no effect, as {other}; give one of the two")


def passed_over(config: Config) -> Iterator[Passed]:
    """Every such key. Given is what is not the default of the option that the data or the model was chosen by."""
    model, data = config["model"], config["data"]
    size, stride = data["image_size"], model.get("stem_stride") or 2
    native = model.get("native") or {}
    if stride != data["stem_stride"] and _is_given(config, "data", "stem_stride"):
        yield Passed("data.stem_stride", data["stem_stride"], f"model.stem_stride={stride}")
    if native and _is_given(config, "model", "native", "train") and native["train"] != size:
        yield Passed("model.native.train", native["train"], f"data.image_size={size}")
    if native and _is_given(config, "model", "native", "test") and native["test"] != (data.get("test_size") or size):
        yield Passed("model.native.test", native["test"], f"data.test_size={data.get('test_size') or size}")
    if model.get("pretrained") and model.get("checkpoint_path"):
        yield Passed("model.pretrained", model["pretrained"], f"model.checkpoint_path={model['checkpoint_path']}")
    if "num_classes" in model:
        yield Passed("model.num_classes", model["num_classes"], "data.num_classes or the class folders say how many")
    if model.get("in_chans", len(data["mean"])) != len(data["mean"]):
        yield Passed("model.in_chans", model["in_chans"], f"data.mean={data['mean']} is of {len(data['mean'])} colours")
    yield from _teacher(config)


def _teacher(config: Config) -> Iterator[Passed]:
    named = (config["strategy"].get("kd") or {}).get("teacher")
    if named and None not in (named if isinstance(named, list) else [named]):
        for key in ("model", "overrides"):
            if _is_given(config, "data", "teacher", key):
                yield Passed(f"data.teacher.{key}", config["data"]["teacher"].get(key), f"strategy.kd.teacher={named}")


def _is_given(config: Config, group: str, *path: str) -> bool:
    """Whether a value is there and not that of its option; of an option that is the user's own nothing is known."""
    own: Any = config[group]
    default: Any = option_of(group, str(own["name"]))
    if not default:
        return False
    for key in path:
        own, default = ((node or {}).get(key) for node in (own, default))
    return own is not None and own != default
