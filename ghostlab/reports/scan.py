"""A plan read off the run folders: runs that differ in nothing but strategies and seed make one table.

Rows and tables that no plan has named are called by what they are and by the values in which they differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostlab.runs import config_hash
from ghostlab.runs.command import OF_STRATEGIES, common_overrides, row_overrides
from ghostlab.runs.identity import identity, strategy_name
from ghostlab.runs.run import Run, run_folders
from ghostlab.studies.plan import Plan, Row, Table, compare_rows, complete_row, joined_strategies, reference_row

__all__ = ["Scan", "scan"]

Config = dict[str, Any]
Found = Mapping[str, Config]


@dataclass(frozen=True)
class Scan:
    """The plan that was found, the folders that are in no table of it, and what is wrong with some of the files."""

    plan: Plan
    others: Sequence[str]
    notes: Sequence[str]


def scan(folder: Path, command: str) -> Scan:
    """All runs below ``folder`` as tables, each with its reference; ``command`` is what the plan says it comes from."""
    read = {place: Run(folder / place).find_config() for place in run_folders(folder)}
    found = {place: config for place, config in read.items() if config is not None}
    groups = [(group, _rows(group)) for group in _grouped(found, lambda config: repr(_shared_settings(config)))]
    tables = [(group, rows) for group, rows in groups if len(rows) > 1]
    titles = _table_titles([_first(group) for group, _ in tables])
    made = [_table(title, group, rows) for title, (group, rows) in zip(titles, tables, strict=True)]
    used = {run for table in made for row in table.rows for run in row.runs.values()}
    notes = [f"{place}/config.yaml: not the configuration of a run, left out" for place in read if place not in found]
    return Scan(Plan("list", command, folder, made), [place for place in found if place not in used], notes)


def _rows(group: Found) -> list[Row]:
    """Fewest strategies first; of two folders with the same run the first."""
    kinds = _grouped(group, config_hash)
    names = _row_names([_first(kind) for kind in kinds])
    rows = [_row(name, kind) for name, kind in zip(names, kinds, strict=True)]
    return sorted(rows, key=lambda row: (len(joined_strategies(row.strategy)), row.strategy, row.name))


def _row(name: str, kind: Found) -> Row:
    runs = {config["seed"]: place for place, config in reversed([*kind.items()])}
    config = _first(kind)
    return Row(name, strategy_name(config), row_overrides(config), config_hash(config), dict(sorted(runs.items())))


def _table(title: str, group: Found, rows: Sequence[Row]) -> Table:
    reference = reference_row(rows)
    if reference is complete_row(rows):
        rows = [reference, *(row for row in _without_names(rows, reference) if row is not reference)]
    compared = [compare_rows(row, reference) for row in rows if row is not reference]
    return Table(title, common_overrides(_first(group)), rows, compared)


def _grouped(found: Found, key: Callable[[Config], str]) -> list[Found]:
    groups: dict[str, dict[str, Config]] = defaultdict(dict)
    for place, config in found.items():
        groups[key(config)][place] = config
    return list(groups.values())


def _first(group: Found) -> Config:
    return next(iter(group.values()))


def _shared_settings(config: Config) -> Config:
    """All of a configuration that has to be the same in a table: values by dotted key, without the strategies'."""
    return {key: value for key, value in sorted(identity(config).items()) if not key.startswith(OF_STRATEGIES)}


def _row_names(configs: Sequence[Config]) -> list[str]:
    """The canonical names of the strategies, with the values in which several rows of one name differ."""
    return _distinguished([strategy_name(config) for config in configs], [identity(config) for config in configs], " ")


def _table_titles(configs: Sequence[Config]) -> list[str]:
    """Data and model of each table, and the values in which tables of the same data and model differ."""
    return _distinguished([_subject(config) for config in configs], [_shared_settings(one) for one in configs], "  ")


def _without_names(rows: Sequence[Row], complete: Row) -> list[Row]:
    """The rows named after what each lacks of the complete one: ``without kd``."""

    def named(row: Row) -> Row:
        knobs = row.name.removeprefix(row.strategy)
        return replace(row, name=f"without {compare_rows(row, complete).subject}{knobs}")

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
