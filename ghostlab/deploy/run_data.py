"""The data of a run as it is now: what has changed since is said, and other classes are not scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from ghostlab.data import DataConfig, DataModule
from ghostlab.data.manifest import Manifest, describe_changes, describe_class_changes
from ghostlab.errors import RunError, UsageError
from ghostlab.runs.run import Run
from ghostlab.runs.settings import parse_node
from ghostlab.terminal import say

__all__ = ["data_module"]

NEEDED = ("name", "image_size", "mean", "std")
"""What no default value may stand for."""


class RunData(DataModule):
    """The data of a ``run`` as it is now, of which nothing is downloaded, and nothing kept.

    ``setup()`` also raises ``RunError`` where its classes are others by now: a network knows them by their numbers
    only. Other images are said.
    """

    def __init__(self, node: Mapping[str, Any], run: Run | None) -> None:
        known = {key: value for key, value in node.items() if key != "class_names"}
        changed = {"num_classes": None} if node.get("class_names") else {}  # told by their names
        config = OmegaConf.create({**known, **changed, "download": False, "decoded": None})
        super().__init__(parse_node(DataConfig, config, "data"), seed=0)
        self._run, self._trained_on = run, node.get("class_names")

    def setup(self, stage: str | None = None) -> None:
        first = self._sources is None
        super().setup(stage)
        if others := describe_class_changes(self._trained_on or self.class_names, self.class_names):
            raise RunError(f"{self.cfg.where}: {', '.join(others)} since the run was trained")
        before = Manifest.read(self._run.folder) if first and self._run else None
        if before and (told := describe_changes(before, Manifest.of(self.train_source, self.val_source))):
            say(f"images    {told} since {self._run} was trained ({self.cfg.where})")


def data_module(node: Mapping[str, Any], run: Run | None = None) -> RunData:
    """The data of a run, by the ``data`` node of its configuration and, to say what has changed since, the run.

    Raises ``RunError`` for a node that this version cannot read.
    """
    file = run.config_file if run else "the data of the run"
    for key in NEEDED:
        if key not in node:
            raise RunError(f"{file}: no data.{key}")
    try:
        return RunData(node, run)
    except UsageError as error:  # of a file, not of the command line
        raise RunError(f"{file}: {error}") from error
