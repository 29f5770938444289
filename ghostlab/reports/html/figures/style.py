"""What all plots share."""

from __future__ import annotations

import html
import math
from typing import Any

__all__ = ["Figure", "label", "layout", "number", "rgb"]

Figure = dict[str, Any]
LONGEST_LABEL = 32
ROW = 20
"""Pixels that a plot keeps beside its titles."""


def label(name: str, longest: int | None = LONGEST_LABEL) -> str:
    """A name as text for Plotly, which reads some HTML; a long one without its middle."""
    if longest and len(name) > longest:
        name = f"{name[: longest // 2]}…{name[-(longest // 2 - 1) :]}"
    return html.escape(name, quote=False)


def number(value: float | None) -> float | None:
    """Five significant digits; None for what JSON has no number for."""
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def rgb(row: int, reference: bool) -> str:
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
