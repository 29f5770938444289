"""A report on the terminal, with a second table for the columns that do not fit; nothing in a name is markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ghostlab.reports.summary import Report
from ghostlab.reports.table import ResultRow, ResultTable, comparison_tables, line_table, others_note
from ghostlab.tables import Column, columns_of, known_columns, one_line, terminal_table

__all__ = ["print_report"]

ENDLESS = 10_000
STYLES = {"helps": "green", "hurts": "red", "reference": "bold"}

Columns = Sequence[Column[ResultRow]]


def print_report(report: Report, console: Console) -> None:
    """Print every table, what belongs to it, and its notes."""
    for section in report.sections:
        for table in _fitting_tables(line_table(section), console):
            console.print(table)
        for found in comparison_tables(section):
            columns = columns_of(found.columns, "terminal")
            title = found.title[0].lower() + found.title[1:]
            console.print(_rich_table(title, [replace(columns[0], heading=""), *columns[1:]], found.rows))
        for line in (section.method, *section.notes, *others_note(section)):
            console.print(Text(one_line(line)))
        console.print()


def _fitting_tables(table: ResultTable, console: Console) -> list[Table]:
    """The rows with as many columns as fit; those that say least are in tables of their own below."""
    name, *left = known_columns(columns_of(table.columns, "terminal"), table.rows)
    drawn: list[Table] = []
    while left:
        columns = _fitting_columns(table, name, left, console)
        drawn.append(_rich_table(f"{table.title}, more" if drawn else table.title, [name, *columns], table.rows))
        left = [column for column in left if column not in columns]
    return drawn


def _fitting_columns(table: ResultTable, name: Column[ResultRow], left: Columns, console: Console) -> Columns:
    """The most important ones that fit beside each other, in their order; at least those of rank 0, or one."""
    chosen = [column for column in left if not column.rank] or [min(left, key=lambda one: one.rank)]
    for column in sorted(left, key=lambda one: one.rank):
        more = [one for one in left if one in chosen or one is column]
        drawn = _rich_table(table.title, [name, *more], table.rows)
        if Measurement.get(console, console.options.update(max_width=ENDLESS), drawn).maximum > console.width:
            break
        chosen = more
    return chosen


def _rich_table(title: str, columns: Columns, rows: Sequence[ResultRow]) -> Table:
    broken = [replace(column, heading=_two_lines(column.heading)) for column in columns]
    return terminal_table(
        broken, rows, title, style=lambda row: STYLES.get(row.outcome), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )


def _two_lines(heading: str) -> str:
    first, _, second = heading.partition(" ") if not heading.startswith("95 %") else heading.rpartition(" ")
    return f"{first}\n{second}" if second else first
