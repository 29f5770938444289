"""A report on the terminal, which drops columns where it is narrow; nothing in a name is markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ghostlab.ablation.summary import Report, Section
from ghostlab.ablation.table import (
    EFFECT_COLUMNS,
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
        console.print(_fitting(section, console))
        for table in _beside(section):
            console.print(table)
        for line in (section.method, *section.notes, *others_line(section)):
            console.print(Text(one_line(line)))
        console.print()


def _fitting(section: Section, console: Console) -> Table:
    """The table with as many columns as fit; those that say least go first."""
    ranks = sorted({column.rank for column in columns(section)}, reverse=True)
    for limit in (max(ranks) + 1, *ranks):
        table = _table(section, limit)
        if Measurement.get(console, console.options.update(max_width=ENDLESS), table).maximum <= console.width:
            break
    return table


def _table(section: Section, limit: int) -> Table:
    """The table of the columns whose rank is below ``limit``, or 0."""
    shown = [column for column in columns(section) if not column.rank or column.rank < limit]
    empty = {
        column.title for column in shown if column.rank and all(column.cell(line) == "-" for line in section.lines)
    }
    shown = [column for column in shown if column.title not in empty]
    table = _titled(section.title, "strategy", [column.title for column in shown])
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
