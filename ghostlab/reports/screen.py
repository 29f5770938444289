"""A report on the terminal, with a second table for the columns that do not fit; nothing in a name is markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ghostlab.reports.summary import Report, Section
from ghostlab.reports.table import (
    EFFECT_COLUMNS,
    Column,
    columns,
    direct_cells,
    effect_cells,
    interaction_cells,
    one_line,
    others_line,
)

__all__ = ["show"]

ENDLESS = 10_000
COLORS = {"helps": "green", "hurts": "red"}


def show(report: Report, console: Console) -> None:
    """Print every table, what belongs to it, and its notes."""
    for section in report.sections:
        for table in (*_fitting(section, console), *_beside(section)):
            console.print(table)
        for line in (section.method, *section.notes, *others_line(section)):
            console.print(Text(one_line(line)))
        console.print()


def _fitting(section: Section, console: Console) -> list[Table]:
    """The rows with as many columns as fit; those that say least are in tables of their own below."""
    left = _known(section)
    tables: list[Table] = []
    while left:
        chosen = _first(section, left, console)
        title = f"{section.title}, more" if tables else section.title
        tables.append(_table(section, title, chosen))
        left = [column for column in left if column not in chosen]
    return tables


def _known(section: Section) -> list[Column]:
    """All columns but those of which nothing is known."""
    every = columns(section)
    return [one for one in every if not one.rank or any(one.cell(line) != "-" for line in section.lines)]


def _first(section: Section, left: Sequence[Column], console: Console) -> list[Column]:
    """The most important ones that fit beside each other, in their order; at least those of rank 0, or one."""
    chosen = [column for column in left if not column.rank] or [min(left, key=lambda one: one.rank)]
    for column in sorted(left, key=lambda one: one.rank):
        more = [one for one in left if one in chosen or one is column]
        if not _fits(_table(section, section.title, more), console):
            break
        chosen = more
    return chosen


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update(max_width=ENDLESS), table).maximum <= console.width


def _table(section: Section, title: str, shown: Sequence[Column]) -> Table:
    table = _titled(title, "strategy", [column.title for column in shown])
    for line in section.lines:
        cells = [Text(column.cell(line)) for column in shown]
        style = COLORS.get(line.effect.verdict) if line.effect else "bold" if line.name == section.reference else None
        table.add_row(_name(line.name), *cells, style=style)
    return table


def _beside(section: Section) -> list[Table]:
    tables = []
    if section.direct:
        tables.append(_titled("compared directly", "", EFFECT_COLUMNS))
        for one in section.direct:
            tables[-1].add_row(_name(f"{one.row} against {one.reference}"), *map(Text, direct_cells(one)))
    if section.main:
        tables.append(_titled("on average over all others", "", EFFECT_COLUMNS))
        for one in section.main:
            tables[-1].add_row(_name(one.subject), *map(Text, effect_cells(one)), style=COLORS.get(one.verdict))
    if section.interactions:
        tables.append(_titled("together, beyond the sum of both", "", EFFECT_COLUMNS[:-1]))
        for pair in section.interactions:
            tables[-1].add_row(_name(" with ".join(pair.strategies)), *map(Text, interaction_cells(pair)))
    return tables


def _titled(title: str, first: str, others: Sequence[str]) -> Table:
    table = Table(title=Text(one_line(title)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(Text(_two_lines(column)), justify="left" if column == "verdict" else "right", overflow="fold")
    return table


def _two_lines(title: str) -> str:
    first, _, second = title.partition(" ") if not title.startswith("95 %") else title.rpartition(" ")
    return f"{first}\n{second}" if second else first


def _name(name: str) -> Text:
    return Text(one_line(name))
