"""Class activation maps as one picture: a row an image, a column a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ghostlab.errors import UsageError
from ghostlab.files import write_file

__all__ = ["FORMATS", "Panel", "check_format", "draw"]

FORMATS = (".png", ".pdf", ".svg", ".jpg")
COLORS = ListedColormap(colormaps["turbo"](np.linspace(0.08, 0.92, 256)))
"""Without the ends, which are so dark that they would hide the image."""
SIDE = 2.7
"""Inches of a panel."""
CHARACTERS = 36
"""That fit in a line of a title above it."""


@dataclass(frozen=True)
class Panel:
    """A title of several lines, an image (H, W, 3) with values in [0, 1], and its map (H, W) in [0, 1] or None."""

    title: str
    image: NDArray[np.floating[Any]]
    heat: NDArray[np.floating[Any]] | None


def check_format(path: Path) -> None:
    """``UsageError`` when pictures cannot be written under this name."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--out {path}: its name must end in one of {', '.join(FORMATS)}")


def draw(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """Write the panels, all rows of the same length, and a colour bar that says what the colours mean."""
    lines = max(len(_wrapped(panel.title).splitlines()) for row in rows for panel in row)
    size = (SIDE * len(rows[0]), (SIDE + 0.15 * lines) * len(rows) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for places, row in zip(axes, rows, strict=True):
        for place, panel in zip(places, row, strict=True):
            _draw_panel(place, panel)
    bar = figure.colorbar(ScalarMappable(cmap=COLORS), ax=axes, location="bottom", aspect=60, fraction=0.03, pad=0.02)
    bar.set_ticks([0, 1], labels=["least", "most"], fontsize=9)
    bar.set_label("evidence for the class, in each picture on a scale of its own", fontsize=9)
    write_file(path, lambda to: figure.savefig(to, dpi=130))


def _draw_panel(axes: Axes, panel: Panel) -> None:
    height, width = panel.image.shape[:2]
    sharp = "nearest" if max(height, width) < 256 else "antialiased"
    axes.imshow(panel.image, interpolation=sharp)
    if panel.heat is not None:
        axes.imshow(panel.heat, cmap=COLORS, vmin=0, vmax=1, alpha=0.4, interpolation="bilinear")
    axes.set_title(_wrapped(panel.title), fontsize=8, parse_math=False)
    axes.set_axis_off()


def _wrapped(title: str) -> str:
    return "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, CHARACTERS))
