"""The command that trains what a run's ``config.yaml`` describes, for runs of which no plan tells it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ghostlab.errors import GhostlabError
from ghostlab.runs.compose import compose
from ghostlab.runs.identity import DEFAULT_OPTIMIZER, identity_values, named_overrides, strategy_name

__all__ = ["OF_STRATEGIES", "common_overrides", "row_overrides"]

PLAIN = re.compile(r"[A-Za-z_./][\w./+-]*")
OF_STRATEGIES = ("strategy.", "data.teacher.", "plugged.")
"""Beginnings of keys that only strategies have."""
WORDS = ("null", "true", "false", "nan", "inf")


def common_overrides(config: dict[str, Any]) -> list[str]:
    """What the command line says of data, model and training, but for the strategies."""
    optimizer = config.get("optimizer", {}).get("name", DEFAULT_OPTIMIZER)
    named = [name for group in ("data", "model") for name in named_overrides(group, config[group]["name"])]
    named += named_overrides("optimizer", optimizer) if optimizer != DEFAULT_OPTIMIZER else []
    rest = _changes(config, (*named, "strategy=baseline"), strategies=False)
    outputs = config.get("outputs", "outputs")
    return [*named, *rest, *([] if outputs == "outputs" else [_override("outputs", outputs)])]


def row_overrides(config: dict[str, Any]) -> list[str]:
    """What the command line says of the strategies: which are joined, and their values other than the default ones."""
    named = [f"strategy={strategy_name(config)}"]
    named += [_override("plugins", config["plugins"])] if config.get("plugged") and config.get("plugins") else []
    return [*named, *_changes(config, tuple(named), strategies=True)]


def _changes(config: dict[str, Any], named: tuple[str, ...], strategies: bool) -> list[str]:
    """The values that differ from those that ``named`` alone composes, of the strategies or of all else."""
    defaults = _defaults(named)
    own = {
        key: value for key, value in identity_values(config).items() if not key.startswith("plugged.")
    }  # which is no key
    given = {key: value for key, value in own.items() if key.startswith(OF_STRATEGIES) == strategies}
    changed = {key: value for key, value in given.items() if value != {} and defaults.get(key, {}) != value}
    return [_override(key if key in defaults else f"+{key}", value) for key, value in changed.items() if defaults]


@cache
def _defaults(named: tuple[str, ...]) -> dict[str, Any]:
    """Empty for what this version cannot compose."""
    try:
        return identity_values(compose(named))
    except (GhostlabError, HydraException, OmegaConfBaseException):
        return {}


def _override(key: str, value: Any) -> str:
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, str) and not (PLAIN.fullmatch(value) and value.lower() not in WORDS):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{quoted}'"
    return str(value)
