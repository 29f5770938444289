"""Differences with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence

from ghostlab.reports.html.style import MARKS, Figure, Mark, layout, plot_label, rounded, typeset
from ghostlab.reports.table import REFERENCE, ResultRow, difference_text, removes

__all__ = ["effects_plot", "interactions_plot", "main_effects_plot"]

ROW, LOW_ROW, FRAME = 28, 20, 70
"""Pixels of height, for each row (of few, of many) and for all else."""
MANY = 20
NARROW = 18
"""Letters of a row's name in a narrow window, where the names would leave no room for what they name."""

GAIN, LOSS = "← it hurts      it helps →", "← it helps      it hurts →"
POINTS = "difference, points of top-1"


def effects_plot(rows: Sequence[ResultRow]) -> Figure | None:
    """Every row's difference to its reference, in their order; None where no row has one."""
    if all(row.outcome == REFERENCE for row in rows if row.difference):
        return None
    return _forest(rows, f"{LOSS if removes(rows) else GAIN}<br>{POINTS}")


def main_effects_plot(rows: Sequence[ResultRow]) -> Figure | None:
    """What each strategy gives on average over all others; None where that is not known."""
    return _forest(rows, f"{GAIN}<br>{POINTS}")


def interactions_plot(rows: Sequence[ResultRow]) -> Figure | None:
    """What pairs give beyond the sum of both; None where that is not known."""
    return _forest(rows, "← less      more →<br>beyond the sum, points of top-1")


def _forest(rows: Sequence[ResultRow], title: str) -> Figure | None:
    points = [row for row in rows if row.difference]
    if not points:
        return None
    kinds = [kind for kind in MARKS.values() if any(point.outcome == kind.word for point in points)]
    x = {"title": {"text": title, "standoff": 8}, "side": "top"}
    y = {
        "tickvals": list(range(len(points))),
        "ticktext": [plot_label(point.name) for point in points],
        "range": [len(points) - 0.5, -0.5],
        "showgrid": False,
        "tickfont": {"color": "--ink"},
        "ticklabelstandoff": 6,
    }
    ends = {"x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    zero = {"type": "line", **ends, "layer": "below", "line": {"color": "--ink", "width": 1}}
    height = FRAME + (LOW_ROW if len(points) > MANY else ROW) * len(points)
    return {
        "data": [_trace(kind, points) for kind in kinds],
        "layout": layout(
            height, x, y, shapes=[zero], meta={"narrow": [plot_label(point.name, NARROW) for point in points]}
        ),
    }


def _trace(kind: Mark, points: Sequence[ResultRow]) -> Figure:
    own = [(place, row) for place, row in enumerate(points) if row.outcome == kind.word]
    found = [row.difference for _, row in own if row.difference]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind.word,
        "x": [rounded(one.mean) for one in found],
        "y": [place for place, _ in own],
        "meta": [row.place for _, row in own],
        "marker": {"symbol": kind.symbol, "size": 11, "color": kind.color, "line": {"width": 2, "color": kind.color}},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(0 if one.high is None else one.high - one.mean) for one in found],
            "arrayminus": [rounded(0 if one.low is None else one.mean - one.low) for one in found],
            "color": kind.color,
            "thickness": 2,
            "width": 0,
        },
        "text": [
            f"<b>{plot_label(row.name, None)}</b><br>{typeset(difference_text(row))}<br>{plot_label(row.verdict, None)}"
            for _, row in own
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
