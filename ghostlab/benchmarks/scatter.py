"""A chart of what networks compute, or how well, against how long they take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ghostlab.files import write_file

__all__ = ["HorizontalAxis", "ScatterPoint", "scatter", "spread_labels"]

AXIS_MARGIN = 1.3
"""Factor that the axis of times goes beyond the lowest and the highest."""


class HorizontalAxis(NamedTuple):
    """What is drawn from left to right."""

    label: str
    logarithmic: bool = True


class ScatterPoint(NamedTuple):
    """A network in a runtime: its name, its place from left to right, and mean and 95th percentile of milliseconds."""

    name: str
    runtime: str
    value: float
    mean: float
    p95: float


def scatter(path: Path, title: str, horizontal: HorizontalAxis, points: Sequence[ScatterPoint]) -> None:
    """Milliseconds, logarithmic, over the points' values; the names stand in a column on the right, where they do not
    overlap. Where there are several runtimes, each has a colour."""
    figure = Figure(figsize=(8, max(3.5, 1 + 0.3 * len(points))), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(points, key=lambda point: point.mean)
    runtimes = list(dict.fromkeys(point.runtime for point in points))
    bottom = ordered[0].mean / AXIS_MARGIN
    top = max(max(point.mean, point.p95) for point in points) * AXIS_MARGIN
    heights = [math.log(point.mean / bottom, top / bottom) for point in ordered]
    for place, (point, height) in enumerate(
        zip(ordered, spread_labels(heights, 0.9 / max(10, len(points))), strict=True)
    ):
        color = runtimes.index(point.runtime) if len(runtimes) > 1 else place
        _draw_point(axes, point, height, f"C{color % 10}")
    axes.set(yscale="log", xlabel=horizontal.label, ylabel="milliseconds")
    axes.set_ylim(bottom, top)
    axes.margins(x=0.1)
    _plain_numbers(axes.yaxis)
    if horizontal.logarithmic:
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
    axes.grid(alpha=0.3)
    if len(runtimes) > 1:
        colors = {runtime: Line2D([], [], color=f"C{k % 10}", marker="o") for k, runtime in enumerate(runtimes)}
        figure.legend(list(colors.values()), list(colors), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title, fontsize=9)
    write_file(path, lambda to: figure.savefig(to, dpi=120))


def spread_labels(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights in [0, 1], moved to be ``gap`` apart: up, and down again where that is above 1."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    limit = 1.0
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - gap
    return moved


def _draw_point(axes: Axes, point: ScatterPoint, height: float, color: str) -> None:
    place = (point.value, point.mean)
    above = np.array([[0.0], [max(0.0, point.p95 - point.mean)]])
    axes.errorbar(*place, yerr=above, fmt="o", color=color, capsize=3)
    axes.annotate(
        f"{point.name}  {point.mean:,.1f} ms",
        place,
        xytext=(1.05, height),
        textcoords="axes fraction",
        va="center",
        fontsize=9,
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "alpha": 0.6, "relpos": (0, 0.5)},
        parse_math=False,
    )


def _plain_numbers(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
