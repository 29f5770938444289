"""Runs as they are on disk: what state each is in, and its figures; nothing that is damaged stops the reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf.errors import OmegaConfBaseException

from ghostlab.quantities import is_number
from ghostlab.reports.summary import RunRecord, State
from ghostlab.runs import config_hash
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.run import LOADER, Run
from ghostlab.shell import command
from ghostlab.studies.plan import Row, Table

__all__ = ["figure", "read_config", "read_runs", "top1_by_seed"]


def read_runs(outputs: Path, table: Table, row: Row) -> tuple[list[RunRecord], list[str]]:
    """The runs of a row by rising seed, and what a reader must know about those that are not counted."""
    runs: list[RunRecord] = []
    notes: list[str] = []
    state: State
    for seed, place in sorted(row.runs.items()):
        run = Run(outputs / place)
        result, problem = _result(run, row.config_hash, seed)
        state, error = _unfinished(run) if result is None else ("finished", None)
        if result is not None and problem:  # trained to the end, to nothing that counts
            result, state, error = None, "failed", problem
        elif problem:
            notes.append(f"{row.name}, seed {seed}: {problem}, not counted ({place})")
        overrides = [*table.overrides, *row.overrides, f"seed={seed}"]
        runs.append(RunRecord(seed, run.folder, state, command("train.py", *overrides), result, run.history(), error))
    return runs, notes


def figure(run: RunRecord, key: str) -> float | None:
    """A finite number of the run's ``result.json``; None where it has none under this name."""
    value: Any = (run.result or {}).get(key)
    return float(value) if is_number(value) else None


def top1_by_seed(runs: Sequence[RunRecord]) -> dict[int, float]:
    """Top-1 in percent of the finished runs, by seed."""
    return {run.seed: top1 for run in runs if (top1 := figure(run, "top1")) is not None}


def read_config(folder: Path) -> dict[str, Any] | None:
    """The configuration that a run was trained with; None where there is none that tells what the run is."""
    try:
        config = yaml.load(Run(folder).config_file.read_text(encoding="utf-8"), LOADER)
        known = (config["data"]["name"], config["model"]["name"], config["strategy"], config["seed"])
        config_hash(config)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, OmegaConfBaseException):
        return None
    return config if all(map(isinstance, known, (str, str, dict, int))) and known[2] else None


def _result(run: Run, expected: str, seed: int) -> tuple[Mapping[str, Any] | None, str | None]:
    """``result.json`` if it is that of the run that is meant, or why it is not."""
    try:
        read = json.loads(run.result_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        return None, f"{run.result_file.name} cannot be read ({type(error).__name__})"
    if not isinstance(read, dict):
        return None, f"{run.result_file.name} is not that of a run"
    if not _is_meant(read, run.folder, expected) or read.get("seed") != seed:
        return None, "its folder holds another configuration"
    for name, value in (("top-1", read.get("top1")), ("loss", read.get("loss", 0))):
        if not is_number(value):
            return read, f"its {name} is {value}"
    return read, None


def _is_meant(result: Mapping[str, Any], folder: Path, expected: str) -> bool:
    """Whether it has this hash or, where an earlier version wrote it and took other hashes, its configuration has."""
    if result.get("config_hash") == expected or result.get("config_schema") == SCHEMA:
        return result.get("config_hash") == expected
    config = read_config(folder)
    return config is not None and config_hash(config) == expected


def _unfinished(run: Run) -> tuple[State, str | None]:
    if run.is_training():
        return "running", None
    error = run.failure()
    return ("failed", error) if error else ("missing", None)
