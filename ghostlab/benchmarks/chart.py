"""A bar chart of what contestants cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from ghostlab.benchmarks.contest import Measured
from ghostlab.files import write_file

__all__ = ["draw"]


def draw(path: Path, title: str, groups: Mapping[str, Mapping[str, Measured]]) -> None:
    """One panel a group: the time of every contestant as a ratio to the first, with its lowest and highest round."""
    heights = [len(measured) for measured in groups.values()]
    figure = Figure(figsize=(8, 1 + 0.36 * sum(heights) + 0.5 * len(heights)), layout="constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, (name, measured) in zip(panels, groups.items(), strict=True):
        values = list(measured.values())
        ratios = [one.ratio for one in values]
        spread = [[one.ratio - one.low for one in values], [one.high - one.ratio for one in values]]
        colors = ["tab:green" if "online" in key else "tab:gray" for key in measured]
        bars = panel.barh(list(measured), ratios, xerr=spread, color=colors, ecolor="black", capsize=2)
        panel.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=8)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_title(name, loc="left", fontsize=10)
        panel.invert_yaxis()
        panel.margins(x=0.1)
    panels[-1].set_xlabel("time of a training step, as a ratio to the plain network")
    figure.suptitle(title, fontsize=10)
    write_file(path, lambda to: figure.savefig(to, dpi=120))
