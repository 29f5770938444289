"""Train one model with joined strategies, or a sweep of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ghostlab.cli.arguments import check_arguments
from ghostlab.cli.guard import FULL_ERROR, guarded
from ghostlab.errors import UsageError
from ghostlab.runs.compose import CONF, VERSION_BASE, register
from ghostlab.runs.config_checks import refuse_hydra_settings, refuse_sweep_settings, refuse_unknown_beforehand
from ghostlab.runs.messages import exit_code, one_line
from ghostlab.shell import command
from ghostlab.slurm import enduring
from ghostlab.studies.jobs import HydraTask, Task, split_ablation

if TYPE_CHECKING:
    from ghostlab.runs.settings import Settings

__all__ = ["hydra_command", "main"]

COMPOSING = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What Hydra lets through of a configuration that is wrong in ways it does not expect."""


def train(settings: Settings) -> float:
    """One run, and what it is worth by its objective."""
    from ghostlab.training.run import train

    return settings.objective.value(train(settings))


def main(arguments: list[str], prog: str = "train.py") -> int:
    """Compose, and train; the exit code."""
    return guarded(lambda: hydra_command(train, arguments))


def hydra_command(task: Task, arguments: list[str]) -> None:
    """Run ``task`` on the settings that the command line composes, once or for each job of a sweep.

    A job of a sweep that fails does not stop the others; the error at the end names those that failed.
    """
    register()
    sys.argv[1:] = check_arguments(arguments)
    own = _as_given(task)
    whole = HydraTask(lambda cfg: _once(own, cfg), own, command("train.py", *arguments))
    try:
        with enduring(), _environment("1"):
            hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="config")(whole)()
    except COMPOSING as error:  # of Hydra alone: those of a run are kept
        if exit_code(error) is not None:
            raise
        why = f"{type(error).__name__}: {one_line(error)}"
        raise UsageError(f"{' '.join(arguments)}: cannot be composed ({why})") from error
    if whole.errors:
        raise whole.errors[0]


def _once(task: Task, cfg: DictConfig) -> None:
    from ghostlab.data.manifest import clear_manifest_cache  # both import torch
    from ghostlab.runs.settings import parse

    own, ablation = split_ablation(cfg)
    if ablation:
        raise UsageError(f"ablation={ablation.design}: an ablation is a sweep, {command('train.py', '-m')} ...")
    refuse_hydra_settings(HydraConfig.get())
    refuse_sweep_settings(HydraConfig.get())
    refuse_unknown_beforehand(own)
    clear_manifest_cache()  # what the images were when this process last looked
    task(parse(own))


def _as_given(task: Task) -> Task:
    """The task in the environment of the user, as have the processes that it starts."""
    given = os.environ.get(FULL_ERROR)

    def own(settings: Settings) -> object:
        with _environment(given):
            return task(settings)

    return own


@contextmanager
def _environment(full_error: str | None) -> Iterator[None]:
    before = os.environ.pop(FULL_ERROR, None)
    os.environ |= {} if full_error is None else {FULL_ERROR: full_error}
    try:
        yield
    finally:
        os.environ.pop(FULL_ERROR, None)
        os.environ |= {} if before is None else {FULL_ERROR: before}
