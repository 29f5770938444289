"""What rows and tables are called that no plan has named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ghostlab.runs.command import OF_STRATEGIES, strategy_of
from ghostlab.runs.identity import identity
from ghostlab.studies.plan import Row
from ghostlab.studies.relations import against

__all__ = ["row_names", "shared_settings", "table_titles", "without_names"]

Config = dict[str, Any]


def shared_settings(config: Config) -> Config:
    """All of a configuration that has to be the same in a table: values by dotted key, without the strategies'."""
    return {key: value for key, value in sorted(identity(config).items()) if not key.startswith(OF_STRATEGIES)}


def row_names(configs: Sequence[Config]) -> list[str]:
    """The canonical names of the strategies, with the values in which several rows of one name differ."""
    return _distinguished([strategy_of(config) for config in configs], [identity(config) for config in configs], " ")


def table_titles(configs: Sequence[Config]) -> list[str]:
    """Data and model of each table, and the values in which tables of the same data and model differ."""
    return _distinguished([_subject(config) for config in configs], [shared_settings(one) for one in configs], "  ")


def without_names(rows: Sequence[Row], complete: Row) -> list[Row]:
    """The rows named after what each lacks of the complete one: ``without kd``."""

    def named(row: Row) -> Row:
        knobs = row.name.removeprefix(row.strategy)
        return replace(row, name=f"without {against(row, complete).subject}{knobs}")

    return [row if row is complete else named(row) for row in rows]


def _subject(config: Config) -> str:
    width = config["model"].get("width") or 1.0
    return f"{config['data']['name']}  {config['model']['name']}" + (f" {width}x" if width != 1 else "")


def _distinguished(names: Sequence[str], settings: Sequence[Config], between: str) -> list[str]:
    """Each name with the settings in which those of the same name differ."""
    told = []
    for name, own in zip(names, settings, strict=True):
        alike = [theirs for other, theirs in zip(names, settings, strict=True) if other == name]
        keys = _differing(alike)
        last = [key.rpartition(".")[2] for key in keys]
        short = [
            one if last.count(one) == 1 else key.removeprefix("strategy.") for one, key in zip(last, keys, strict=True)
        ]
        told.append(between.join([name, *(f"{one}={_value(own, key)}" for one, key in zip(short, keys, strict=True))]))
    return told


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _value(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
