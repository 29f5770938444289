"""How things look on the page: marks of verdicts, the signs of numbers, colours, and what all plots share."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass
from typing import Any

from ghostlab.reports.table import NOT_COMPARED, REFERENCE

__all__ = ["MARKS", "TIMES", "Figure", "Mark", "curve_color", "layout", "plot_label", "rounded", "typeset"]

Figure = dict[str, Any]
MINUS, TIMES, NO_BREAK = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{NO-BREAK SPACE}"
LONGEST_LABEL = 32
ROW = 20
"""Pixels that a plot keeps beside its titles."""


@dataclass(frozen=True)
class Mark:
    """An outcome as a word, as a sign and in a colour, so that none of them is needed to tell it.

    ``name`` is the class in the page's CSS and ``--name`` its colour, ``symbol`` Plotly's name of ``sign``.
    """

    name: str
    word: str
    sign: str
    symbol: str

    @property
    def color(self) -> str:
        """The CSS property with the colour, which depends on light and dark."""
        return f"--{self.name}"

    @property
    def rank(self) -> int:
        """Its place when a table is sorted by verdicts."""
        return [*MARKS].index(self.word)


MARKS = {
    mark.word: mark
    for mark in (
        Mark("helps", "helps", "▲", "triangle-up"),
        Mark("hurts", "hurts", "▼", "triangle-down"),
        Mark("helps", "more together", "▲", "triangle-up"),
        Mark("hurts", "less together", "▼", "triangle-down"),
        Mark("undecided", "undecided", "○", "circle-open"),
        Mark("untested", "one seed", TIMES, "x-thin-open"),
        Mark("untested", "no seed yet", "…", "x-thin-open"),
        Mark("reference", REFERENCE, "◆", "diamond"),
        Mark("untested", NOT_COMPARED, "·", "circle"),
    )
}
"""By the outcome of a row; the order is that of groups and plots."""


def typeset(text: str) -> str:
    """A number's text with the signs that a page has for "-", "x" and "±", and no new line within ``(3 seeds)``."""
    signed = re.sub(r"(?<=\d)x\b", TIMES, re.sub(r"(?<![\w.])-(?=\d)", MINUS, text))
    return re.sub(r"(?<=\d) (?=seeds?\))", NO_BREAK, signed).replace("±", "± ")


def plot_label(name: str, longest: int | None = LONGEST_LABEL) -> str:
    """A name as text for Plotly, which reads some HTML; a long one without its middle."""
    if longest and len(name) > longest:
        name = f"{name[: longest // 2]}…{name[-(longest // 2 - 1) :]}"
    return html.escape(name, quote=False)


def rounded(value: float | None) -> float | None:
    """Five significant digits; None for what JSON has no number for."""
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def curve_color(row: int, reference: bool) -> str:
    """The colour of a row's curve."""
    return "--ink" if reference else f"--curve-{row % 7}"


def layout(height: int, x: Figure, y: Figure, *, zoom: bool = False, **more: Any) -> Figure:
    """A layout without frame, with thin lines of a grid; ``zoom`` lets a mouse draw what is to be seen closer."""
    axis = {
        "gridcolor": "--line",
        "zeroline": False,
        "automargin": True,
        "fixedrange": not zoom,
        "title": {"standoff": 10},
    }
    return {
        "height": height,
        "margin": {"l": 10, "r": 14, "t": 10, "b": 10},
        "minreducedheight": ROW,  # below which Plotly lets a title lie upon the ticks of a plot of one row
        "paper_bgcolor": "--paper",
        "plot_bgcolor": "--paper",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--soft"},
        "hoverlabel": {"bgcolor": "--raised", "bordercolor": "--line", "font": {"color": "--ink"}, "align": "left"},
        "xaxis": {**axis, **x},
        "yaxis": {**axis, **y},
        "showlegend": False,
        "dragmode": "zoom" if zoom else False,
        **more,
    }
