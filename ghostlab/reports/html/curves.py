"""Learning curves: the mean over the seeds of a row, and every seed as a thin line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ghostlab.reports.html.style import Figure, curve_color, layout, plot_label, rounded
from ghostlab.reports.summary import Line, RunRecord, Section

__all__ = ["curves_plot", "rows_shown_first", "svg_dash"]

SHOWN = 8
DASHES = {"solid": "", "dash": "6 3", "dot": "2 2", "dashdot": "7 2 2 2"}
"""Plotly's names, and the same in SVG."""
HEIGHT = 330
FEW = 10
"""Epochs of which each has a tick."""


def line_dash(row: int) -> str:
    """The kind of line of a row: where the colours are used up, they return with another one."""
    return list(DASHES)[row // 7 % len(DASHES)]


def svg_dash(row: int) -> str:
    """The same for an SVG's ``stroke-dasharray``."""
    return DASHES[line_dash(row)]


def rows_shown_first(section: Section) -> set[int]:
    """The places of the lines that are shown at first: the reference and the best, eight in all."""
    drawn = [(row, line) for row, line in enumerate(section.lines) if any(run.history for run in line.runs)]
    drawn.sort(key=lambda entry: (entry[1].name != section.reference, -(entry[1].top1 or 0)))
    return {row for row, _ in drawn[:SHOWN]}


def curves_plot(section: Section, key: str, title: str) -> Figure | None:
    """The column ``key`` of ``metrics.csv`` over the epochs; None where no run has it."""
    shown = rows_shown_first(section)
    data = [
        {**trace, "visible": row in shown}
        for row, line in enumerate(section.lines)
        for trace in _line(row, line, key, line.name == section.reference)
    ]
    if not data:
        return None
    epochs = {epoch for trace in data for epoch in trace["x"]}
    # Few epochs would get ticks between them, too; of many the ticks are whole until a reader looks closer.
    few = {"dtick": 1} if max(epochs) - min(epochs) <= FEW else {}
    x = {"title": {"text": "epoch", "standoff": 6}, "showgrid": False, **few}
    return {"data": data, "layout": layout(HEIGHT, x, {"title": {"text": title, "standoff": 8}}, zoom=True)}


def _line(row: int, line: Line, key: str, reference: bool) -> list[Figure]:
    runs = [run for run in line.runs if _points(run, key)]
    if not runs:
        return []
    averaged = [run for run in runs if run.state == "finished"] or runs
    what = f"mean of {len(averaged)} seeds" if len(averaged) > 1 else f"seed {averaged[0].seed}"
    color = curve_color(row, reference)
    mean = _trace(row, color, _mean(averaged, key), f"<b>{plot_label(line.name, None)}</b>, {what}")
    return [*(_trace(row, color, _points(run, key)) for run in runs if len(runs) > 1), mean]


def _points(run: RunRecord, key: str) -> dict[float, float]:
    return {
        row["epoch"]: value for row in run.history if "epoch" in row and (value := rounded(row.get(key))) is not None
    }


def _mean(runs: Sequence[RunRecord], key: str) -> dict[float, float]:
    """Over the epochs that all of these runs have."""
    points = [_points(run, key) for run in runs]
    epochs = sorted(set.intersection(*(set(one) for one in points)))
    return {epoch: float(f"{statistics.mean(one[epoch] for one in points):.5g}") for epoch in epochs}


def _trace(row: int, color: str, points: dict[float, float], says: str | None = None) -> Figure:
    """A thick line that says what it is, or a thin one."""
    hover = {"text": says, "hovertemplate": "%{text}<br>epoch %{x}: %{y}<extra></extra>"}
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) == 1 else "lines",
        "meta": row,
        "x": list(points),
        "y": list(points.values()),
        "opacity": 1 if says else 0.3,
        "line": {"color": color, "width": 2.25 if says else 1, "dash": line_dash(row)},
        **(hover if says else {"hoverinfo": "skip"}),
    }
