"""What all commands share: errors in one line, and the exit codes 0 (success), 2 (bad usage) and 1 (another cause)."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ghostlab.cli.arguments import checked
from ghostlab.errors import UsageError
from ghostlab.runs.compose import CONF, VERSION_BASE
from ghostlab.runs.hydra_node import refuse_hydra_settings, refuse_sweep_settings, refuse_unknown_beforehand
from ghostlab.runs.messages import exit_code, one_line
from ghostlab.runs.plus import register
from ghostlab.shell import command
from ghostlab.slurm import enduring
from ghostlab.studies.application import HydraTask, Task
from ghostlab.studies.jobs import apart

if TYPE_CHECKING:
    from ghostlab.runs.settings import Settings

__all__ = ["Command", "guarded", "hydra_command", "subcommand"]

Command = Callable[[argparse.Namespace], None]
COMPOSING = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What Hydra lets through of a configuration that is wrong in ways it does not expect."""

FULL_ERROR = "HYDRA_FULL_ERROR"
"""With 1 Hydra hands its errors on instead of printing them."""


def guarded(run: Callable[[], object]) -> int:
    """Run a command; a user's mistake or a known failure becomes one line on stderr and an exit code.

    With ``HYDRA_FULL_ERROR=1`` in the environment the traceback is kept.
    """
    _take_any_character()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be written at the end
        return 1
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted")
        return 1
    except Exception as error:
        code = exit_code(error)
        if code is None or os.environ.get(FULL_ERROR) == "1":
            raise
        _say(one_line(error))
        return code
    return 0


def _reader_has_gone() -> bool:
    """Whether it was the pipe of stdout, which head and the like close, and not that to another process."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def _say(line: str) -> None:
    """At one go, since processes that train together write to one stderr."""
    sys.stderr.write(f"{line}\n")


def _take_any_character() -> None:
    """What the encoding of an output lacks is written as an escape, such as parts of file names that are not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def subcommand(
    prog: str,
    description: str,
    commands: Mapping[str, Callable[[argparse.ArgumentParser], Command]],
    arguments: list[str],
) -> int:
    """Run the one of ``commands`` that the first argument names; each adds its arguments to a parser of its own and
    returns what to call with them."""
    top = argparse.ArgumentParser(prog=prog, description=description)
    top.add_argument("what", choices=commands, help="each has a --help of its own")
    what = top.parse_args(arguments[:1]).what
    parser = argparse.ArgumentParser(prog=f"{prog} {what}")
    run = commands[what](parser)
    given = parser.parse_intermixed_args(arguments[1:])
    return guarded(lambda: run(given))


def hydra_command(task: Task, arguments: list[str]) -> None:
    """Run ``task`` on the settings that the command line composes, once or for each job of a sweep.

    A job of a sweep that fails does not stop the others; the error at the end names those that failed.
    """
    register()
    sys.argv[1:] = checked(arguments)
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

    own, ablation = apart(cfg)
    if ablation:
        raise UsageError(f"ablation={ablation.design}: an ablation is a sweep, python train.py -m ...")
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
    before = os.environ.get(FULL_ERROR)
    _set_full_error(full_error)
    try:
        yield
    finally:
        _set_full_error(before)


def _set_full_error(value: str | None) -> None:
    if value is None:
        os.environ.pop(FULL_ERROR, None)
    else:
        os.environ[FULL_ERROR] = value
