"""Runs as they are on disk: what state each is in, and its figures; nothing that is damaged stops the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostlab.quantities import is_number
from ghostlab.reports.summary import RunRecord, State
from ghostlab.runs import config_hash
from ghostlab.runs.identity import SCHEMA
from ghostlab.runs.run import Run
from ghostlab.shell import command
from ghostlab.studies.plan import Row, Table

__all__ = ["metric", "read_runs", "top1_by_seed"]


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


def metric(run: RunRecord, key: str) -> float | None:
    """A finite number of the run's ``result.json``; None where it has none under this name."""
    value: Any = (run.result or {}).get(key)
    return float(value) if is_number(value) else None


def top1_by_seed(runs: Sequence[RunRecord]) -> dict[int, float]:
    """Top-1 in percent of the finished runs, by seed."""
    return {run.seed: top1 for run in runs if (top1 := metric(run, "top1")) is not None}


def _result(run: Run, expected: str, seed: int) -> tuple[Mapping[str, Any] | None, str | None]:
    """``result.json`` if it is that of the run that is meant, or why it is not."""
    read, problem = run.read_result()
    if read is None:
        return None, problem and f"{run.result_file.name} {problem}"
    if not _is_meant(read, run, expected) or read.get("seed") != seed:
        return None, "its folder holds another configuration"
    for name, value in (("top-1", read.get("top1")), ("loss", read.get("loss", 0))):
        if not is_number(value):
            return read, f"its {name} is {value}"
    return read, None


def _is_meant(result: Mapping[str, Any], run: Run, expected: str) -> bool:
    """Whether it has this hash or, where an earlier version wrote it and took other hashes, its configuration has."""
    if result.get("config_hash") == expected or result.get("config_schema") == SCHEMA:
        return result.get("config_hash") == expected
    config = run.find_config()
    return config is not None and config_hash(config) == expected


def _unfinished(run: Run) -> tuple[State, str | None]:
    if run.is_training():
        return "running", None
    error = run.failure()
    return ("failed", error) if error else ("missing", None)
