"""Trained runs asked about images: what in an image speaks for a class, and all of it as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ghostlab.data.config import DataConfig
from ghostlab.data.sources import UnreadableError, read_image
from ghostlab.data.transforms import eval_transform
from ghostlab.errors import RunError, UsageError, unknown
from ghostlab.evaluation.cam import Explanation, explain
from ghostlab.files import write_file
from ghostlab.runs.run import find_run, open_run

__all__ = ["Panel", "check_format", "draw_panels", "explained_panels"]

TITLES = {"cam": "CAM", "gradcam": "Grad-CAM"}
FORMATS = (".png", ".pdf", ".svg", ".jpg")
COLORS = ListedColormap(colormaps["turbo"](np.linspace(0.08, 0.92, 256)))
"""Without the ends, which are so dark that they would hide the image."""
SIDE = 2.7
"""Inches of a panel."""
CHARACTERS = 36
"""That fit in a line of a title above it."""


@dataclass(frozen=True)
class ExplainedRun:
    """A trained run with what it needs to look at an image."""

    name: str
    """What tells it from others: model, strategies, image size, folder; one a line."""
    model: nn.Module
    data: DataConfig
    classes: Sequence[str]

    @classmethod
    def open(cls, path: Path) -> ExplainedRun:
        """A run folder, or a checkpoint in one; raises as ``open_run`` does."""
        model, config = open_run(path)
        data = _data(config, path)
        names = config["data"].get("class_names") or range(config["data"]["num_classes"])
        return cls(_name(config, data, path), model, data, [str(name) for name in names])

    def class_index(self, wanted: str) -> int:
        """A class by its name or, where no class is called that, by its index; ``UsageError`` when there is neither."""
        if wanted in self.classes:
            return self.classes.index(wanted)
        if wanted.isdecimal() and int(wanted) < len(self.classes):
            return int(wanted)
        run = self.name.replace("\n", ", ")
        raise UsageError(f"--class {wanted}: {unknown('class', wanted, self.classes)} ({run})")

    def panel(self, image: Image.Image, wanted: str | None, method: str) -> Panel:
        """The image as the model sees it, under the map of ``wanted`` or, where that is None, of the class it sees."""
        seen: Tensor = eval_transform(self.data)(image)
        index = None if wanted is None else self.class_index(wanted)
        found = explain(self.model, seen, index, method)
        heat = found.heat(*seen.shape[-2:]).numpy()
        return Panel(f"{self.name}\n{self._told(found)}", self._pixels(seen), None if found.flat else heat)

    def _told(self, found: Explanation) -> str:
        shares = found.logits.softmax(0)
        first = int(shares.argmax())
        how = f"{TITLES[found.method]} {' x '.join(map(str, found.evidence.shape))}"
        share = "" if first == found.class_index else f" ({100 * shares[found.class_index]:.1f} %)"
        predicted = f"predicts {self.classes[first]} ({100 * shares[first]:.1f} %)"
        nothing = "\nno place speaks for it more than others" if found.flat else ""
        return f"{predicted}\nmap for {self.classes[found.class_index]}{share}\n{how}{nothing}"

    def _pixels(self, seen: Tensor) -> np.ndarray:
        mean, std = torch.tensor(self.data.mean), torch.tensor(self.data.std)
        return (seen.permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()


def explained_panels(
    images: Sequence[Path], runs: Sequence[Path], wanted: str | None, method: str
) -> list[list[Panel]]:
    """A row for each image: the image itself, then one panel a run.

    Raises ``UsageError`` for what is not an image and for a class that one of the runs does not know, and what opening
    a run and ``explain`` raise.
    """
    read = [_read(path) for path in images]
    opened = [ExplainedRun.open(path) for path in runs]
    for run in opened if wanted is not None else ():
        run.class_index(str(wanted))
    rows = []
    for path, image in zip(images, read, strict=True):
        plain = Panel(f"{path.name}\n{image.width} x {image.height} px", np.asarray(image) / 255, None)
        rows.append([plain, *(run.panel(image, wanted, method) for run in opened)])
    return rows


def _read(path: Path) -> Image.Image:
    try:
        return read_image(str(path))
    except UnreadableError as error:
        raise UsageError(f"{error.path}: {error.reason}") from error


def _data(config: dict[str, Any], path: Path) -> DataConfig:
    known = {field.name for field in fields(DataConfig)}
    given = {key: value for key, value in config["data"].items() if key in known}
    try:
        return DataConfig(**given)
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: the data node of its config.yaml is not one that training wrote ({error})") from error


def _name(config: dict[str, Any], data: DataConfig, path: Path) -> str:
    options = [f"{key}={config['model'][key]:g}" for key in ("width", "depth") if config["model"].get(key)]
    run = find_run(path)
    folder = run.folder.name if run else ""
    file = f"/{path.name}" if path.is_file() else ""
    model = " ".join([config["model"]["name"], *options])
    return f"{model}\n{'+'.join(config.get('strategy') or ())}, {data.resolved_test_size} px\n{folder}{file}"


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


def draw_panels(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
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
