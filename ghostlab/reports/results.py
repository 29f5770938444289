"""Runs as they are on disk: what state each is in, and its figures; nothing that is damaged stops the reading."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf.errors import OmegaConfBaseException

from ghostlab.reports.summary import Run, State
from ghostlab.runs import config_hash
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.result_file import is_number
from ghostlab.shell import command
from ghostlab.studies.plan import Row, Table

__all__ = ["figure", "read_config", "read_runs", "top1_by_seed"]

RESULT, CONFIG, HISTORY, ERROR, LOCK = "result.json", "config.yaml", "metrics.csv", "error.txt", ".lock"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_runs(outputs: Path, table: Table, row: Row) -> tuple[list[Run], list[str]]:
    """The runs of a row by rising seed, and what a reader must know about those that are not counted."""
    runs: list[Run] = []
    notes: list[str] = []
    state: State
    for seed, place in sorted(row.runs.items()):
        folder = outputs / place
        result, problem = _result(folder, row.config_hash, seed)
        state, error = _unfinished(folder) if result is None else ("finished", None)
        if result is not None and problem:  # trained to the end, to nothing that counts
            result, state, error = None, "failed", problem
        elif problem:
            notes.append(f"{row.name}, seed {seed}: {problem}, not counted ({place})")
        overrides = [*table.overrides, *row.overrides, f"seed={seed}"]
        runs.append(Run(seed, folder, state, command("train.py", *overrides), result, _history(folder), error))
    return runs, notes


def figure(run: Run, key: str) -> float | None:
    """A finite number of the run's ``result.json``; None where it has none under this name."""
    value = (run.result or {}).get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def top1_by_seed(runs: Sequence[Run]) -> dict[int, float]:
    """Top-1 in percent of the finished runs, by seed."""
    return {run.seed: top1 for run in runs if (top1 := figure(run, "top1")) is not None}


def read_config(folder: Path) -> dict[str, Any] | None:
    """The configuration that a run was trained with; None where there is none that tells what the run is."""
    try:
        config = yaml.load((folder / CONFIG).read_text(encoding="utf-8"), LOADER)
        known = (config["data"]["name"], config["model"]["name"], config["strategy"], config["seed"])
        config_hash(config)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, OmegaConfBaseException):
        return None
    return config if all(map(isinstance, known, (str, str, dict, int))) and known[2] else None


def _result(folder: Path, expected: str, seed: int) -> tuple[Mapping[str, Any] | None, str | None]:
    """``result.json`` if it is that of the run that is meant, or why it is not."""
    try:
        read = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError) as error:
        return None, f"{RESULT} cannot be read ({type(error).__name__})"
    if not isinstance(read, dict):
        return None, f"{RESULT} is not that of a run"
    if not _is_meant(read, folder, expected) or read.get("seed") != seed:
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


def _unfinished(folder: Path) -> tuple[State, str | None]:
    if _is_locked(folder / LOCK):
        return "running", None
    try:
        lines = (folder / ERROR).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "missing", None
    return "failed", lines[0] if lines else "no reason given"


def _is_locked(file: Path) -> bool:
    """Whether a process holds the lock; where there is no file, none is made."""
    if not file.is_file():
        return False
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's file
        return False


def _history(folder: Path) -> list[dict[str, float]]:
    """The rows of ``metrics.csv``, of each the finite numbers."""
    try:
        text = (folder / HISTORY).read_text(encoding="utf-8", errors="replace")
        rows = [dict(_numbers(row)) for row in csv.DictReader(text.splitlines())]
    except (OSError, csv.Error):
        return []
    return [row for row in rows if "epoch" in row]


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, text in row.items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            yield name, value
