"""Differences with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ghostlab.reports.html import formats
from ghostlab.reports.html.columns import ordered, removes
from ghostlab.reports.html.figures.style import Figure, label, layout, number
from ghostlab.reports.html.verdicts import MARKS, REFERENCE, Mark, line_mark, mark, words
from ghostlab.reports.summary import Line, Section
from ghostlab.statistics.paired import Difference

__all__ = ["effects", "interactions", "main_effects"]

ROW, LOW_ROW, FRAME = 28, 20, 70
"""Pixels of height, for each row (of few, of many) and for all else."""
MANY = 20
NARROW = 18
"""Letters of a row's name in a narrow window, where the names would leave no room for what they name."""

GAIN, LOSS = "← it hurts      it helps →", "← it helps      it hurts →"
POINTS = "difference, points of top-1"


class _ForestPoint(NamedTuple):
    row: int
    name: str
    difference: Difference
    mark: Mark
    says: str


def effects(section: Section) -> Figure | None:
    """Every line's difference to its reference, in the order of the table; None where no line has one."""
    points = [point for row, line in ordered(section) if (point := _point(section, row, line))]
    if all(point.mark == REFERENCE for point in points):
        return None
    sides = LOSS if removes(section) else GAIN
    return _forest(points, f"{sides}<br>{POINTS}")


def main_effects(section: Section) -> Figure | None:
    """What each strategy gives on average over all others; None where that is not known."""
    points = [
        _ForestPoint(row, one.subject, one.difference, mark(one), words(one))
        for row, one in enumerate(section.main)
        if one.difference
    ]
    return _forest(points, f"{GAIN}<br>{POINTS}") if points else None


def interactions(section: Section) -> Figure | None:
    """What pairs give beyond the sum of both."""
    points = [
        _ForestPoint(row, f" {formats.TIMES} ".join(one.strategies), one.difference, mark(one), mark(one).word)
        for row, one in enumerate(section.interactions)
        if one.difference
    ]
    return _forest(points, "← less      more →<br>beyond the sum, points of top-1") if points else None


def _point(section: Section, row: int, line: Line) -> _ForestPoint | None:
    if line.effect:
        found = line.effect.difference
        return _ForestPoint(row, line.name, found, mark(line.effect), words(line.effect)) if found else None
    reference = line.top1 is not None and line_mark(section, line) == REFERENCE
    return _ForestPoint(row, line.name, Difference(0.0, 0), REFERENCE, REFERENCE.word) if reference else None


def _forest(points: Sequence[_ForestPoint], title: str) -> Figure:
    kinds = [kind for kind in (*MARKS.values(), REFERENCE) if any(point.mark == kind for point in points)]
    x = {"title": {"text": title, "standoff": 8}, "side": "top"}
    y = {
        "tickvals": list(range(len(points))),
        "ticktext": [label(point.name) for point in points],
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
        "layout": layout(height, x, y, shapes=[zero], meta={"narrow": [label(point.name, NARROW) for point in points]}),
    }


def _trace(kind: Mark, points: Sequence[_ForestPoint]) -> Figure:
    own = [(place, point) for place, point in enumerate(points) if point.mark == kind]
    found = [point.difference for _, point in own]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind.word,
        "x": [number(one.mean) for one in found],
        "y": [place for place, _ in own],
        "meta": [point.row for _, point in own],
        "marker": {"symbol": kind.symbol, "size": 11, "color": kind.color, "line": {"width": 2, "color": kind.color}},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [number(0 if one.high is None else one.high - one.mean) for one in found],
            "arrayminus": [number(0 if one.low is None else one.mean - one.low) for one in found],
            "color": kind.color,
            "thickness": 2,
            "width": 0,
        },
        "text": [
            f"<b>{label(point.name, None)}</b><br>{formats.difference(point.difference)}<br>{label(point.says, None)}"
            for _, point in own
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
