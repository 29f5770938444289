"""Trained runs asked about images: what each predicts, and what in the image speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ghostlab.data.config import DataConfig
from ghostlab.data.sources import UnreadableError, read_image
from ghostlab.data.transforms import eval_transform
from ghostlab.errors import RunError, UsageError, unknown
from ghostlab.evaluation.cam import Explanation, explain
from ghostlab.evaluation.cam_figure import Panel
from ghostlab.runs.run import find_run, open_run

__all__ = ["ExplainedRun", "panels"]

TITLES = {"cam": "CAM", "gradcam": "Grad-CAM"}


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


def panels(images: Sequence[Path], runs: Sequence[Path], wanted: str | None, method: str) -> list[list[Panel]]:
    """A row for each image: the image itself, then one panel a run.

    Raises ``UsageError`` for what is not an image and for a class that one of the runs does not know, and what opening
    a run and ``explain`` raise.
    """
    read = [_read(path) for path in images]
    opened = [ExplainedRun.open(path) for path in runs]
    for run in opened if wanted is not None else ():
        run.class_index(str(wanted))
    return [
        [_input(path, image), *(run.panel(image, wanted, method) for run in opened)]
        for path, image in zip(images, read, strict=True)
    ]


def _read(path: Path) -> Image.Image:
    try:
        return read_image(str(path))
    except UnreadableError as error:
        raise UsageError(f"{error.path}: {error.reason}") from error


def _input(path: Path, image: Image.Image) -> Panel:
    return Panel(f"{path.name}\n{image.width} x {image.height} px", np.asarray(image) / 255, None)


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
