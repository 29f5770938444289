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

from ghostlab.errors import UsageError, unknown
from ghostlab.files import write_text
from ghostlab.strategies.registry import canonical_name, join

__all__ = [
    "Comparison",
    "Plan",
    "Row",
    "Table",
    "compare_rows",
    "complete_row",
    "joined_strategies",
    "keep_plan",
    "read_plan",
    "reference_row",
    "with_comparison",
    "with_reference",
    "write_plan",
]

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


def joined_strategies(strategy: str) -> frozenset[str]:
    """The strategies that a canonical name joins, recipes taken apart; none for the baseline."""
    try:
        names = join(strategy)
    except UsageError:  # of another version
        names = tuple(strategy.split("+"))
    return frozenset(names) - {"baseline"}


def reference_row(rows: Sequence[Row]) -> Row:
    """What a table without a plan is compared with.

    The baseline; without one, the row that joins everything if all others lack one strategy of it; else the row with
    most seeds, the first of several.
    """
    baseline = next((row for row in rows if not joined_strategies(row.strategy)), None)
    return baseline or complete_row(rows) or max(rows, key=lambda row: len(row.runs))


def complete_row(rows: Sequence[Row]) -> Row | None:
    """The row of which each other row lacks exactly one strategy; None where there is none."""
    largest = max(rows, key=lambda row: len(joined_strategies(row.strategy)))
    whole = joined_strategies(largest.strategy)
    others = [joined_strategies(row.strategy) for row in rows if row is not largest]
    return largest if len(others) > 1 and all(one < whole and len(whole - one) == 1 for one in others) else None


def compare_rows(row: Row, reference: Row) -> Comparison:
    """The comparison of two rows: about the strategies that one of them has beyond the other, else about the row."""
    own, theirs = joined_strategies(row.strategy), joined_strategies(reference.strategy)
    if own < theirs:
        return Comparison(row.name, reference.name, canonical_name(tuple(theirs - own)), removed=True)
    if theirs and theirs < own:
        return Comparison(row.name, reference.name, canonical_name(tuple(own - theirs)))
    return Comparison(row.name, reference.name, row.name)


def with_reference(plan: Plan, name: str) -> Plan:
    """The plan with every row of a table compared with the row ``name``; a table without that row stays as it is.

    Raises ``UsageError`` when no table has it.
    """
    _known("--reference", name, plan)
    return replace(plan, tables=[_compared(table, name) for table in plan.tables])


def with_comparison(plan: Plan, pair: str) -> Plan:
    """The plan with the comparison of row A against row B, ``A:B``, in every table that has both.

    Raises ``UsageError`` for what is no pair of rows of one table.
    """
    row, _, reference = next((found for found in _cuts(pair) if _both(plan, found)), pair.partition(":"))
    if not (row and reference):
        raise UsageError(f"--compare {pair}: two rows, as in --compare cosine:step")
    for name in (row, reference):
        _known("--compare", name, plan)
    if not _both(plan, (row, "", reference)) or row == reference:
        raise UsageError(f"--compare {pair}: two different rows of the same table")
    direct = Comparison(row, reference, row)
    return replace(plan, tables=[_with(table, direct) for table in plan.tables])


def _compared(table: Table, name: str) -> Table:
    reference = next((row for row in table.rows if row.name == name), None)
    if reference is None:
        return table
    return replace(table, comparisons=[compare_rows(row, reference) for row in table.rows if row is not reference])


def _with(table: Table, direct: Comparison) -> Table:
    fits = {direct.row, direct.reference} <= {row.name for row in table.rows}
    known = {(one.row, one.reference) for one in table.comparisons}
    new = fits and (direct.row, direct.reference) not in known
    return replace(table, comparisons=[*table.comparisons, direct]) if new else table


def _cuts(pair: str) -> list[tuple[str, str, str]]:
    """A row's own name may hold a colon."""
    return [(pair[:i], ":", pair[i + 1 :]) for i, letter in enumerate(pair) if letter == ":"]


def _both(plan: Plan, found: tuple[str, str, str]) -> bool:
    return any({found[0], found[2]} <= {row.name for row in table.rows} for table in plan.tables)


def _known(option: str, name: str, plan: Plan) -> None:
    names = {row.name for table in plan.tables for row in table.rows}
    if name not in names:
        raise UsageError(f"{option} {name}: {unknown('row', name, names)}")
