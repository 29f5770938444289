"""One model of a table: columns are declared once, and written for the terminal, as Markdown and as CSV.

>>> columns = [Column("name", "network", align="left"), Column("ms", "milliseconds", show="{:.1f}".format)]
>>> print("\\n".join(markdown_table(columns, [{"name": "a", "ms": 1.52}, {"name": "b", "ms": None}])))
| network | milliseconds |
|---|---:|
| a | 1.5 |
| b | - |
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from rich.table import Table
from rich.text import Text

__all__ = [
    *("TEXT", "UNKNOWN", "Column", "Rendering", "columns_of", "csv_table", "escaped", "is_known"),
    *("known_columns", "markdown_table", "one_line", "terminal_table"),
]

Row = TypeVar("Row")
Rendering = Literal["terminal", "markdown", "csv", "html", "card"]
TEXT: tuple[Rendering, ...] = ("terminal", "markdown", "html", "card")
"""All renderings that are read and not reckoned with."""
UNKNOWN = "-"
SPECIAL = re.compile(r"([\\`*\[\]<>|])")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """What a table says of each row: ``value`` is what CSV holds and what is sorted by, ``text`` what is read.

    ``get`` finds the value, which is else the row's item or attribute ``key``; ``show`` makes a text of it, or ``cell``
    where that needs more of the row. A ``rank`` of 0 is shown in any case; of the others those in which a row has a
    value, and where there is no room the highest go first.
    """

    key: str
    heading: str = ""
    get: Callable[[Row], Any] | None = None
    show: Callable[[Any], str] = str
    cell: Callable[[Row], str] | None = None
    explanation: str = ""
    align: Literal["left", "right"] = "right"
    rank: int = 0
    renderings: Sequence[Rendering] = TEXT

    def value(self, row: Row) -> Any:
        """What is known of the row, None where it is nothing."""
        if self.get:
            return self.get(row)
        return row[self.key] if isinstance(row, Mapping) else getattr(row, self.key)

    def text(self, row: Row) -> str:
        """The cell as it is read; what is not known or no finite number is a dash."""
        if self.cell:
            return self.cell(row)
        return self.show(value) if is_known(value := self.value(row)) else UNKNOWN


def is_known(value: Any) -> bool:
    """Whether there is a value; NaN and infinities are none."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def columns_of(columns: Iterable[Column[Row]], rendering: Rendering) -> list[Column[Row]]:
    """The columns that a rendering shows, in their order."""
    return [column for column in columns if rendering in column.renderings]


def known_columns(columns: Iterable[Column[Row]], rows: Sequence[Row]) -> list[Column[Row]]:
    """Those of rank 0, and those in which any row has a value."""
    return [one for one in columns if not one.rank or any(is_known(one.value(row)) for row in rows)]


def terminal_table(
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    title: str | None = None,
    *,
    style: Callable[[Row], str | None] = lambda row: None,
    **options: Any,
) -> Table:
    """A table for a console of rich, in which nothing is markup; ``options`` are those of ``rich.table.Table``."""
    table = Table(title=None if title is None else Text(one_line(title)), title_justify="left", **options)
    for column in columns:
        table.add_column(Text(column.heading), justify=column.align, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(column.text(row))) for column in columns), style=style(row))
    return table


def markdown_table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> list[str]:
    """The lines of a table in Markdown; what is special in a name is escaped."""
    marks = "|".join("---" if column.align == "left" else "---:" for column in columns)
    cells = [[column.heading for column in columns], *([column.text(row) for column in columns] for row in rows)]
    head, *lines = [f"| {' | '.join(map(escaped, line))} |" for line in cells]
    return [head, f"|{marks}|", *lines]


def csv_table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> str:
    """Keys, then values in full precision; an empty cell is not known, and no text is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    writer.writerows([_plain(column.value(row)) for column in columns] for row in rows)
    return text.getvalue()


def one_line(text: str) -> str:
    """Foreign text without line breaks and control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def escaped(text: str) -> str:
    """Foreign text as Markdown shows it."""
    return SPECIAL.sub(r"\\\1", one_line(text))


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return one_line(f"'{value}" if value.startswith(FORMULA) else value)
