"""A plan read off the run folders: runs that differ in nothing but strategies and seed make one table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostlab.reports.naming import row_names, shared_settings, table_titles, without_names
from ghostlab.reports.results import read_config
from ghostlab.runs import config_hash
from ghostlab.runs.command import common_overrides, row_overrides, strategy_of
from ghostlab.studies.plan import Plan, Row, Table
from ghostlab.studies.relations import against, complete_row, parts, reference_row

__all__ = ["Scan", "run_folders", "scan"]

NOT_RUNS = frozenset({"teachers", "ablation", "scaling", "decoded", "checkpoints"})

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
    read = {place: read_config(folder / place) for place in run_folders(folder)}
    found = {place: config for place, config in read.items() if config is not None}
    groups = [(group, _rows(group)) for group in _grouped(found, lambda config: repr(shared_settings(config)))]
    tables = [(group, rows) for group, rows in groups if len(rows) > 1]
    titles = table_titles([_first(group) for group, _ in tables])
    made = [_table(title, group, rows) for title, (group, rows) in zip(titles, tables, strict=True)]
    used = {run for table in made for row in table.rows for run in row.runs.values()}
    notes = [f"{place}/config.yaml: not the configuration of a run, left out" for place in read if place not in found]
    return Scan(Plan("list", command, folder, made), [place for place in found if place not in used], notes)


def run_folders(folder: Path) -> Iterator[str]:
    """The folders of runs below ``folder``, relative to it, in the order of their names."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_RUNS)
        if "config.yaml" in files:
            yield Path(place).relative_to(folder).as_posix()


def _rows(group: Found) -> list[Row]:
    """Fewest strategies first; of two folders with the same run the first."""
    kinds = _grouped(group, _digits)
    names = row_names([_first(kind) for kind in kinds])
    rows = [_row(name, kind) for name, kind in zip(names, kinds, strict=True)]
    return sorted(rows, key=lambda row: (len(parts(row.strategy)), row.strategy, row.name))


def _row(name: str, kind: Found) -> Row:
    runs = {config["seed"]: place for place, config in reversed([*kind.items()])}
    config = _first(kind)
    return Row(name, strategy_of(config), row_overrides(config), _digits(config), dict(sorted(runs.items())))


def _table(title: str, group: Found, rows: Sequence[Row]) -> Table:
    reference = reference_row(rows)
    if reference is complete_row(rows):
        rows = [reference, *(row for row in without_names(rows, reference) if row is not reference)]
    compared = [against(row, reference) for row in rows if row is not reference]
    return Table(title, common_overrides(_first(group)), rows, compared)


def _grouped(found: Found, key: Callable[[Config], str]) -> list[Found]:
    groups: dict[str, dict[str, Config]] = defaultdict(dict)
    for place, config in found.items():
        groups[key(config)][place] = config
    return list(groups.values())


def _digits(config: Config) -> str:
    return config_hash(config)


def _first(group: Found) -> Config:
    return next(iter(group.values()))
