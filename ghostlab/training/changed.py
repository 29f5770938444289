"""Runs of the same configuration whose images were others: a folder that has changed since is never gone over."""

from __future__ import annotations

from typing import Any

from ghostlab.data.manifest import Manifest, current_manifest, describe_changes, describe_class_changes
from ghostlab.errors import RunError, UsageError
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.runs.identity import values
from ghostlab.runs.run import Run
from ghostlab.runs.settings import Settings
from ghostlab.shell import command
from ghostlab.terminal import say

__all__ = ["refuse_other_images", "say_what_changed"]


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
        command = _command(settings.config, last)
        another = "this is another run, and another goes on from its weights"
        say(f"images    {changed} since {last} was finished; {another}: {command}")
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
    ours, found = values(settings.config), []
    for run in map(Run, settings.folder.parent.glob(f"seed{settings.seed}-*/")):
        try:
            same = values(run.config()) == ours
        except (RunError, KeyError, TypeError, ValueError):  # a damaged one is no run of this configuration
            continue
        found += [run] if same else []
    return max(found, key=lambda run: run.config_file.stat().st_mtime) if found else None


def _command(config: dict[str, Any], run: Run) -> str:
    given = [*common_overrides(config), *row_overrides(config), f"seed={config['seed']}", f"model.pretrained={run}"]
    return command("train.py", *given)


def _told(run: Run, settings: Settings) -> str:
    now, before = current_manifest(settings.config["data"]), Manifest.read(run.folder)
    assert now is not None  # as its digest is part of the settings
    if before:
        return describe_changes(before, now)
    told = describe_class_changes(run.config()["data"].get("class_names") or now.class_names, now.class_names)
    return ", ".join(told) or "the images perhaps other than"
