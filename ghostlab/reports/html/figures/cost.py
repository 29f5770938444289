"""Accuracy against the time a training takes."""

from __future__ import annotations

from collections.abc import Sequence

from ghostlab.reports.html import formats
from ghostlab.reports.html.figures.style import Figure, label, layout, number
from ghostlab.reports.html.verdicts import line_mark, line_words
from ghostlab.reports.summary import Line, Section

__all__ = ["cost", "front"]

Entry = tuple[float, float, Line]


def cost(section: Section) -> Figure | None:
    """Top-1 over the time relative to the reference (seconds where that is not known); None for less than two rows."""
    relative = all(line.time_ratio is not None for line in section.lines if line.top1 is not None)
    entries = [
        (time, line.top1, line)
        for line in section.lines
        if line.top1 is not None and (time := line.time_ratio if relative else line.seconds) is not None
    ]
    if len(entries) < 2:
        return None
    best = front(entries)
    ends = [*best, (max(time for time, _, _ in entries), best[-1][1], best[-1][2])]
    entries.sort(key=lambda entry: entry not in best)
    title = "training time, times the reference's" if relative else "training time, seconds"
    x = {"title": {"text": title, "standoff": 6}, "ticksuffix": formats.TIMES if relative else ""}
    y = {"title": {"text": "top-1 (%)", "standoff": 8}}
    return {"data": [_steps(ends), _points(section, entries)], "layout": layout(420, x, y, zoom=True)}


def front(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, by time, than which none that takes no longer is better."""
    best: list[Entry] = []
    for entry in sorted(entries, key=lambda one: (one[0], -one[1])):
        if not best or entry[1] > best[-1][1]:
            best.append(entry)
    return best


def _steps(best: Sequence[Entry]) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [number(time) for time, _, _ in best],
        "y": [number(top1) for _, top1, _ in best],
        "line": {"shape": "hv", "color": "--faint", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _points(section: Section, entries: Sequence[Entry]) -> Figure:
    marks = [line_mark(section, line) for _, _, line in entries]
    spread = [number(line.top1_sd) for _, _, line in entries]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [number(time) for time, _, _ in entries],
        "y": [number(top1) for _, top1, _ in entries],
        "text": [label(line.name) for _, _, line in entries],
        "textposition": "middle right",
        "textfont": {"color": "--ink", "size": 11},
        "marker": {
            "symbol": [one.symbol for one in marks],
            "color": [one.color for one in marks],
            "size": 11,
            "line": {"width": 2, "color": [one.color for one in marks]},
        },
        "error_y": {"type": "data", "array": spread, "color": "--faint", "thickness": 1.25, "width": 0},
        "customdata": [_says(section, line) for _, _, line in entries],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _says(section: Section, line: Line) -> str:
    took = f"{formats.times(line.time_ratio)}  {formats.duration(line.seconds)}"
    top1 = formats.top1(line.top1, line.top1_sd)
    says = label(line_words(section, line), None)
    return f"<b>{label(line.name, None)}</b><br>top-1 {top1}<br>time {took}<br>{says}"
