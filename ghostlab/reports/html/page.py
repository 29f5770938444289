"""A report as one HTML file that needs no network: what helps, by how much, how sure that is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ghostlab.quantities import duration, is_number, ratio, signed
from ghostlab.reports.html import forest
from ghostlab.reports.html.cost import cost_plot
from ghostlab.reports.html.curves import curves_plot, rows_shown_first, svg_dash
from ghostlab.reports.html.style import MARKS, Figure, Mark, curve_color, typeset
from ghostlab.reports.summary import Line, Report, Section
from ghostlab.reports.table import ResultRow, by_difference, comparison_tables, line_table, removes
from ghostlab.tables import UNKNOWN, Column, columns_of, is_known, known_columns

__all__ = ["render_page"]

PARTS = Path(__file__).with_name("parts")
SCRIPTS = ("plots.js", "table.js", "main.js")
TITLES = {
    "add_one": "What each strategy adds",
    "leave_one_out": "What is lost without each strategy",
    "factorial": "Strategies in every combination",
    "list": "Ways of training, side by side",
}
RANK_BESIDE_PLOT = 2
"""Of the columns for which there is room in half a page, or on a phone."""
Columns = Sequence[Column[ResultRow]]


@dataclass(frozen=True)
class ComparisonView:
    """A table of comparisons beside that of the rows, with its plot."""

    title: str
    columns: Columns
    rows: Sequence[ResultRow]
    plot: Figure | None

    @property
    def marks(self) -> list[Mark]:
        """The marks in the plot."""
        return list(dict.fromkeys(MARKS[row.outcome] for row in self.rows))


@dataclass(frozen=True)
class SectionView:
    """A section as it is shown: its rows in order, in groups by verdict, its other tables and its plots."""

    id: str
    section: Section
    columns: Columns
    rows: Sequence[ResultRow]
    comparisons: Mapping[str, ComparisonView]
    effects: Figure | None
    cost: Figure | None
    curves: Mapping[str, Figure]

    @property
    def groups(self) -> dict[Mark, list[ResultRow]]:
        """The compared rows by verdict."""
        compared = [row for row in self.rows if row.effect]
        groups = {mark: [row for row in compared if row.outcome == mark.word] for mark in MARKS.values()}
        return {mark: rows for mark, rows in groups.items() if rows}

    @property
    def marks(self) -> list[Mark]:
        """The marks in the plot of effects."""
        return [mark for mark in MARKS.values() if any(row.difference for row in self.rows if row.outcome == mark.word)]

    @property
    def removes(self) -> bool:
        """Whether the rows lack what they are about."""
        return removes(self.rows)

    @property
    def drawn(self) -> Sequence[tuple[int, Line]]:
        """The lines with curves, by their place in the plan."""
        return [(place, line) for place, line in enumerate(self.section.lines) if any(run.history for run in line.runs)]

    @property
    def shown(self) -> set[int]:
        """The places of the lines whose curves are shown at first."""
        return rows_shown_first(self.section)


def render_page(report: Report, refresh: int | None = None) -> str:
    """The page, to be kept in ``report.folder``: the links to its runs are relative to that.

    With ``refresh`` it reloads itself every so many seconds, and says so.
    """
    scripts = [_script(get_plotlyjs()), _script(_own_script())]
    template = _templates().get_template("page.html")
    return template.render(
        report=report,
        title=TITLES.get(report.kind, report.kind),
        views=[_view(section, number) for number, section in enumerate(report.sections, start=1)],
        refresh=refresh,
        policy=_policy(scripts),
        style=Markup(_read("page.css")),
        scripts=[Markup(script) for script in scripts],
    )


def _view(section: Section, number: int) -> SectionView:
    table = line_table(section)
    rows = by_difference(table.rows)
    plots = {
        "top1": curves_plot(section, "top1", "top-1 (%)"),
        "loss": curves_plot(section, "val_loss", "validation loss"),
    }
    draw = {"main": forest.main_effects_plot, "interaction": forest.interactions_plot}
    return SectionView(
        id=f"s{number}",
        section=section,
        columns=_shown(table.columns, rows),
        rows=rows,
        comparisons={
            one.kind: ComparisonView(
                one.title,
                [column for column in _shown(one.columns, one.rows) if column.rank <= RANK_BESIDE_PLOT],
                one.rows,
                draw[one.kind](one.rows) if one.kind in draw else None,
            )
            for one in comparison_tables(section)
        },
        effects=forest.effects_plot(rows),
        cost=cost_plot(rows),
        curves={key: plot for key, plot in plots.items() if plot},
    )


def _shown(columns: Columns, rows: Sequence[ResultRow]) -> Columns:
    """The columns after the row's name in which something is known."""
    return known_columns(columns_of(columns, "html"), rows)[1:]


def _link(folder: Path, start: Path) -> str:
    """A relative link from a page in ``start`` to a folder, in which nothing can be taken for another scheme."""
    return quote(Path(os.path.relpath(folder, start)).as_posix())


def _states(line: Line) -> Mapping[str, int]:
    """How many runs of a line are in another state than finished."""
    return Counter(run.state for run in line.runs if run.state != "finished")


def _figure(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """``show`` for what is a number, a dash for what is none."""
    return lambda value: typeset(show(value)) if is_number(value) else UNKNOWN


@cache
def _templates() -> Environment:
    made = Environment(loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    figures = {"percent": "{:.2f}".format, "duration": duration, "signed": signed, "ratio": ratio}
    made.filters.update({name: _figure(show) for name, show in figures.items()})
    made.filters.update(link=_link, data=_data, states=_states, mark=lambda row: MARKS[row.outcome], typeset=typeset)
    made.filters.update(rgb=curve_color, dashes=svg_dash, normal=os.path.normpath, breaks=_breaks)
    made.tests["known"] = is_known
    return made


def _data(value: Any) -> Markup:
    """JSON that may stand in a ``<script>``."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _breaks(name: str) -> Markup:
    """A joined name, which may go on in another line after each "+"."""
    return Markup("+<wbr>").join(name.split("+"))


def _policy(scripts: list[str]) -> str:
    """A content security policy: nothing is loaded from anywhere, and no script runs but these."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script(text: str) -> str:
    """A script as it may stand in a page."""
    return text.replace("</script", "<\\/script")


def _own_script() -> str:
    body = "\n".join(_read(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();'


@cache
def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")
