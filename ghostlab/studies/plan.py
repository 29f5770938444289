"""What an ablation compares: tables of rows, each row one way of training over several seeds, kept in ``plan.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ghostlab.errors import UsageError
from ghostlab.files import write_text

__all__ = ["Comparison", "Plan", "Row", "Table", "keep_plan", "read_plan", "write_plan"]

FILE = "plan.json"


@dataclass(frozen=True)
class Row:
    """One way of training.

    ``strategy`` is the canonical name of what it joins, ``overrides`` what the command line adds to those of its table
    (``strategy=kd``, ``strategy.kd.tau=4``), ``runs`` the run folder of each seed, relative to ``Plan.outputs``.
    """

    name: str
    strategy: str
    overrides: Sequence[str]
    config_hash: str
    runs: Mapping[int, str]


@dataclass(frozen=True)
class Comparison:
    """The row ``row`` against the row ``reference`` says whether ``subject`` helps: the row has it, or, when it is
    ``removed``, the reference has it and the row does not."""

    row: str
    reference: str
    subject: str
    removed: bool = False


@dataclass(frozen=True)
class Table:
    """Rows that differ in how they train only; ``overrides`` are what all their runs have in common on a command line.

    ``comparisons`` are all that is tested; a row's first one is that of its line in the table.
    """

    title: str
    overrides: Sequence[str]
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]


@dataclass(frozen=True)
class Plan:
    """A whole ablation; ``kind`` is add_one, leave_one_out, factorial or list, ``outputs`` the folder of the runs."""

    kind: str
    command: str
    outputs: Path
    tables: Sequence[Table]


def keep_plan(parent: Path, plan: Plan) -> Path:
    """Write the plan into a folder below ``parent`` whose name says what is compared, and return it.

    The same rows with other seeds are the same ablation: it has all seeds that were ever planned.
    """
    folder = parent / f"{plan.kind}-{_digits(plan)}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # two launches at once would each lose the seeds of the other
        if (earlier := read_plan(folder)) is not None:
            merged = [_with_runs(*tables) for tables in zip(plan.tables, earlier.tables, strict=True)]
            plan = replace(plan, tables=merged)
        write_plan(folder, plan)
    return folder


def write_plan(folder: Path, plan: Plan) -> None:
    """Write ``plan.json`` into the ablation's folder; the folder of the runs is kept relative to it."""
    outputs = os.path.relpath(plan.outputs, folder)
    text = json.dumps(asdict(plan) | {"outputs": Path(outputs).as_posix()}, indent=1)
    write_text(folder / FILE, text + "\n")


def read_plan(folder: Path) -> Plan | None:
    """The plan in a folder, None where there is none; raises ``UsageError`` for a file that is no plan."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        tables = [_table(table) for table in read["tables"]]
        return Plan(read["kind"], read["command"], folder / read["outputs"], tables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not the plan of an ablation ({type(error).__name__}: {error})") from error


def _table(read: dict[str, Any]) -> Table:
    rows = [Row(**{**row, "runs": {int(seed): run for seed, run in row["runs"].items()}}) for row in read["rows"]]
    return Table(read["title"], read["overrides"], rows, [Comparison(**one) for one in read["comparisons"]])


def _digits(plan: Plan) -> str:
    """Of what is compared, whatever the seeds and wherever the runs are."""
    tables = [([(row.name, row.config_hash) for row in table.rows], table.comparisons) for table in plan.tables]
    return hashlib.sha256(repr(tables).encode()).hexdigest()[:8]


def _with_runs(table: Table, earlier: Table) -> Table:
    rows = [
        replace(row, runs=dict(sorted((dict(old.runs) | dict(row.runs)).items())))
        for row, old in zip(table.rows, earlier.rows, strict=True)
    ]
    return replace(table, rows=rows)
