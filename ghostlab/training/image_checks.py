"""Images of other runs than this one: those that it has learned from, and those of its folder before it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ghostlab.data import DataConfig, DataModule
from ghostlab.data.datasets import build, builder
from ghostlab.data.folder import folder_sources, scan_class_folders
from ghostlab.data.manifest import Manifest, current_manifest, describe_changes, describe_class_changes
from ghostlab.data.sources import Source
from ghostlab.data.split import split_fraction
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.runs.identity import identity_values
from ghostlab.runs.run import Run, find_run
from ghostlab.runs.settings import Settings, parse_node
from ghostlab.shell import command
from ghostlab.terminal import say

__all__ = ["LeakCheck", "refuse_other_images", "say_what_changed"]


class LeakCheck:
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
        config = parse_node(DataConfig, OmegaConf.create({**known, "download": False, "decoded": None}), "data")
        by_index = builder(config.name) is folder_sources and not (Path(str(config.root)) / "val").is_dir()
        return Manifest.of(*(_split_by_index(config) if by_index else build(config)))
    except (GhostlabError, OSError):
        return None


def _split_by_index(config: DataConfig) -> tuple[Source, Source]:
    """As folders without a split of their own were split."""
    images = scan_class_folders(Path(str(config.root)).expanduser(), "data.root")
    train, val = split_fraction(images.targets, config.val_fraction or 0.0, config.split_seed or 0)
    return images.select(train), images.select(val)


def say_what_changed(settings: Settings) -> None:
    """Before a run begins: what has changed in its folder of images since the last run of its configuration.

    With the command that goes on from its weights, where it is finished. Raises ``UsageError`` where it is not, for
    whoever starts it again means to go on with it; ``resume=never`` begins anew.
    """
    if "images" not in settings.config or settings.run.config_file.exists():
        return
    last = _last_one(settings)
    if last is None:
        return
    changed = _told(last, settings)
    if last.result() is not None:
        config = settings.config
        given = [
            *common_overrides(config),
            *row_overrides(config),
            f"seed={config['seed']}",
            f"model.pretrained={last}",
        ]
        another = "this is another run, and another goes on from its weights"
        say(f"images    {changed} since {last} was finished; {another}: {command('train.py', *given)}")
    elif settings.resume != "never" and not settings.force and last.last.exists():
        raise UsageError(
            f"{settings.data.where}: {changed} since {last} began, which is not finished and cannot go on;"
            " resume=never begins anew with the images of now"
        )


def refuse_other_images(settings: Settings, images: Manifest) -> None:
    """``UsageError`` where the run that would go on in this folder began with other images: a set that was replaced."""
    before = Manifest.read(settings.folder) if settings.resumes else None
    if before and (told := describe_changes(before, images)):
        raise UsageError(
            f"data={settings.data.name}: {told} since {settings.folder} began, which cannot go on;"
            " resume=never begins anew"
        )


def _last_one(settings: Settings) -> Run | None:
    """The newest of the runs beside this one that were given the same; None where there is none."""
    ours, found = identity_values(settings.config), []
    for run in map(Run, settings.folder.parent.glob(f"seed{settings.seed}-*/")):
        try:
            same = identity_values(run.config()) == ours
        except (RunError, KeyError, TypeError, ValueError):  # a damaged one is no run of this configuration
            continue
        found += [run] if same else []
    return max(found, key=lambda run: run.config_file.stat().st_mtime) if found else None


def _told(run: Run, settings: Settings) -> str:
    now, before = current_manifest(settings.config["data"]), Manifest.read(run.folder)
    assert now is not None  # as its digest is part of the settings
    if before:
        return describe_changes(before, now)
    told = describe_class_changes(run.config()["data"].get("class_names") or now.class_names, now.class_names)
    return ", ".join(told) or "the images perhaps other than"
