"""A picture of a search: the accuracy of every network that has the same MACs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ghostlab.files import write_file
from ghostlab.studies.scaling.report import SearchRow

__all__ = ["COLORS", "draw"]

COLORS = {
    "depth": "tab:orange",
    "width": "tab:green",
    "resolution": "tab:red",
    "compound": "tab:blue",
    "base": "black",
}
LEAST_SPAN = 4
"""Points that the axis shows at least, so that a tenth of a point does not look like a difference."""


def draw(path: Path, table: Sequence[SearchRow], title: str, subtitle: str) -> None:
    """A line for every row with results, the best on top: a dot for each seed, a diamond for their mean."""
    shown = [row for row in table if row.top1]
    figure = Figure(figsize=(8.5, 1.6 + 0.34 * max(3, len(shown))), layout="constrained")
    axes = figure.subplots()
    labelled: set[str] = set()
    for place, row in enumerate(shown):
        kind, color = row.candidate.kind, COLORS[row.candidate.kind]
        axes.plot([*row.top1.values()], [place] * len(row.top1), "o", color=color, markersize=4, alpha=0.5)
        label = None if kind in labelled else f"{kind} only" if row.candidate.single else kind
        axes.plot([row.mean], [place], "D", color=color, markersize=7, label=label)
        labelled.add(kind)
        if kind == "base":
            axes.axvline(row.mean, color=color, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(shown)), [str(row.candidate) for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("top-1 after the last epoch (%); dots: seeds, diamonds: their mean")
    axes.grid(axis="x", alpha=0.3)
    if shown:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    low, high = axes.get_xlim()
    if (missing := LEAST_SPAN - (high - low)) > 0:
        axes.set_xlim(low - missing / 2, high + missing / 2)
    axes.set_title(f"{title}\n{subtitle}", fontsize=9, loc="left")
    write_file(path, lambda to: figure.savefig(to, dpi=120))
