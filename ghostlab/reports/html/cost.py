"""Accuracy against the time a training takes."""

from __future__ import annotations

from collections.abc import Sequence

from ghostlab.quantities import duration, mean_and_sd, ratio
from ghostlab.reports.html.style import MARKS, TIMES, Figure, layout, plot_label, rounded, typeset
from ghostlab.reports.summary import Line
from ghostlab.reports.table import ResultRow

__all__ = ["cost_plot", "pareto_front"]

Entry = tuple[float, float, ResultRow]
"""Time, top-1 in percent, and the row that has both."""


def cost_plot(rows: Sequence[ResultRow]) -> Figure | None:
    """Top-1 over the time relative to the reference (seconds where that is not known); None for less than two rows."""
    finished = [(row, row.line) for row in rows if row.line and row.line.top1 is not None]
    relative = all(line.time_ratio is not None for _, line in finished)
    entries = [
        (time, line.top1, row)
        for row, line in finished
        if line.top1 is not None and (time := line.time_ratio if relative else line.seconds) is not None
    ]
    if len(entries) < 2:
        return None
    best = pareto_front(entries)
    ends = [*best, (max(time for time, _, _ in entries), best[-1][1], best[-1][2])]
    entries.sort(key=lambda entry: entry not in best)
    title = "training time, times the reference's" if relative else "training time, seconds"
    x = {"title": {"text": title, "standoff": 6}, "ticksuffix": TIMES if relative else ""}
    y = {"title": {"text": "top-1 (%)", "standoff": 8}}
    return {"data": [_front_line(ends), _points(entries)], "layout": layout(420, x, y, zoom=True)}


def pareto_front(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, by time, than which none that takes no longer is better."""
    best: list[Entry] = []
    for entry in sorted(entries, key=lambda one: (one[0], -one[1])):
        if not best or entry[1] > best[-1][1]:
            best.append(entry)
    return best


def _front_line(best: Sequence[Entry]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [rounded(time) for time, _, _ in best],
        "y": [rounded(top1) for _, top1, _ in best],
        "line": {"shape": "hv", "color": "--faint", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _points(entries: Sequence[Entry]) -> Figure:
    marks = [MARKS[row.outcome] for _, _, row in entries]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [rounded(time) for time, _, _ in entries],
        "y": [rounded(top1) for _, top1, _ in entries],
        "text": [plot_label(row.name) for _, _, row in entries],
        "textposition": "middle right",
        "textfont": {"color": "--ink", "size": 11},
        "marker": {
            "symbol": [one.symbol for one in marks],
            "color": [one.color for one in marks],
            "size": 11,
            "line": {"width": 2, "color": [one.color for one in marks]},
        },
        "error_y": {
            "type": "data",
            "array": [rounded(row.line.top1_sd) if row.line else None for _, _, row in entries],
            "color": "--faint",
            "thickness": 1.25,
            "width": 0,
        },
        "customdata": [_hover(row, row.line) for _, _, row in entries if row.line],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _hover(row: ResultRow, line: Line) -> str:
    times = [ratio(line.time_ratio)] if line.time_ratio is not None else []
    times += [duration(line.seconds)] if line.seconds is not None else []
    top1 = mean_and_sd(line.top1, line.top1_sd) if line.top1 is not None else ""
    figures = typeset(f"top-1 {top1}<br>time {'  '.join(times)}")
    return f"<b>{plot_label(row.name, None)}</b><br>{figures}<br>{plot_label(row.verdict, None)}"
