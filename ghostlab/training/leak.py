"""Validation images that a run knows already: from the run that it starts from, or from its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ghostlab.data import DataConfig, DataModule
from ghostlab.data.datasets import build, builder
from ghostlab.data.folder import folder_sources, scan_class_folders
from ghostlab.data.manifest import Manifest, current_manifest, describe_class_changes
from ghostlab.data.sources import Source
from ghostlab.data.split import split_fraction
from ghostlab.errors import GhostlabError, UsageError
from ghostlab.runs.run import find_run
from ghostlab.runs.settings import Settings, typed
from ghostlab.terminal import say

__all__ = ["Images"]


class Images:
    """The images of a run, compared by their content with those that others have learned from, and their classes."""

    def __init__(self, settings: Settings, data: DataModule) -> None:
        self._settings, self._data = settings, data
        self._own: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """Those of this run, and what it has ``seen`` by way of others."""
        if self._own is None:
            folder = current_manifest(self._settings.config["data"]) if "images" in self._settings.config else None
            self._own = folder or Manifest.of(self._data.train_source, self._data.val_source)
            if self._settings.resumes and (before := Manifest.read(self._settings.folder)):
                self._own = self._own.having_seen(before.seen)
        return self._own

    def check_classes(self, key: str, source: str | Path) -> None:
        """``UsageError`` naming ``key`` where the run ``source`` answers with other classes, though as many."""
        run = find_run(source)
        theirs = run.config()["data"].get("class_names") if run else None
        ours = self._data.class_names
        if theirs and len(theirs) == len(ours) and (told := describe_class_changes(list(map(str, theirs)), ours)):
            raise UsageError(f"{key}={source}: answers with other classes than this data has: {', '.join(told)}")

    def learn_from(self, key: str, source: str | Path) -> None:
        """Note what the run ``source``, or a checkpoint in it, has learned from; nothing is known of other networks.

        Raises ``UsageError`` naming ``key`` where that are validation images of this run and ``data.allow_leak`` is
        not set: they would be judged by what they know.
        """
        run = find_run(source)
        if run is None:
            return
        theirs = Manifest.read(run.folder) or _again(run.config()["data"])
        if theirs is None:
            say(f"images    {key}={source}: not compared, as those that it was trained on are not known")
            return
        self._own = self.manifest.having_seen(np.union1d(theirs.train.hashes, theirs.seen))
        share = self._own.leaked
        if share and not self._settings.data.allow_leak:
            raise UsageError(
                f"{key}={source}: has learned from {share:.2%} of the {len(self._own.val):,} validation images, so that"
                " top-1 would be too high; split both alike, or data.allow_leak=true"
            )


def _again(data: dict[str, Any]) -> Manifest | None:
    """Of a run of an earlier version, which did not write it down, where its data is still there."""
    known = {key: value for key, value in data.items() if key != "class_names"}
    try:
        config = typed(DataConfig, OmegaConf.create({**known, "download": False, "decoded": None}), "data")
        by_index = builder(config.name) is folder_sources and not (Path(str(config.root)) / "val").is_dir()
        return Manifest.of(*(_split_by_index(config) if by_index else build(config)))
    except (GhostlabError, OSError):
        return None


def _split_by_index(config: DataConfig) -> tuple[Source, Source]:
    """As folders without a split of their own were split."""
    images = scan_class_folders(Path(str(config.root)).expanduser(), "data.root")
    train, val = split_fraction(images.targets, config.val_fraction or 0.0, config.split_seed or 0)
    return images.select(train), images.select(val)
