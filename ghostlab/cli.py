"""What all commands share: errors in one line, and the exit codes 0 (success), 2 (bad usage) and 1 (another cause)."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig

from ghostlab.config.compose import CONF, VERSION_BASE
from ghostlab.config.messages import exit_code, one_line
from ghostlab.config.plus import register
from ghostlab.config.sweep import apart, late
from ghostlab.errors import RunError, UsageError
from ghostlab.slurm import enduring

__all__ = ["Run", "guarded", "hydra_command", "subcommand"]

Run = Callable[[argparse.Namespace], None]

FULL_ERROR = "HYDRA_FULL_ERROR"
"""With 1 Hydra hands its errors on instead of printing them."""


def guarded(command: Callable[[], object]) -> int:
    """Run a command; a user's mistake or a known failure becomes one line on stderr and an exit code.

    With ``HYDRA_FULL_ERROR=1`` in the environment the traceback is kept.
    """
    _take_any_character()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        command()
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return 1
    except Exception as error:
        code = exit_code(error)
        if code is None or os.environ.get(FULL_ERROR) == "1":
            raise
        print(one_line(error), file=sys.stderr)
        return code
    return 0


def _take_any_character() -> None:
    """What the encoding of an output lacks is written as an escape, such as parts of file names that are not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def subcommand(
    prog: str, description: str, commands: Mapping[str, Callable[[argparse.ArgumentParser], Run]], arguments: list[str]
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


def hydra_command(task: Callable[[DictConfig], object], arguments: list[str]) -> None:
    """Run ``task`` on the configuration that the command line composes, once or for each job of a sweep.

    A job of a sweep that fails does not stop the others; the error at the end names those that failed.
    """
    for argument in arguments:
        if argument.startswith(("+strategy=", "++strategy=")):
            raise UsageError(f"{argument}: strategies are joined by '+' in one value, as in strategy=kd+reparam")
    register()
    with enduring():
        if {"-m", "--multirun"} & {*arguments}:
            _sweep(task, arguments)
        else:
            _once(task)


def _once(task: Callable[[DictConfig], object]) -> None:
    errors: list[Exception] = []

    def job(cfg: DictConfig) -> None:
        try:
            own, ablation = apart(cfg)
            if ablation:
                raise UsageError(f"ablation={ablation.design}: an ablation is a sweep, python train.py -m ...")
            task(own)
        except Exception as error:  # of which Hydra would print a line of its own first
            errors.append(error)

    _hydra(job)
    if errors:
        raise errors[0]


def _sweep(task: Callable[[DictConfig], object], arguments: list[str]) -> None:
    from ghostlab.ablation.sweep import Sweep
    from ghostlab.ablation.worker import work

    sweep = Sweep(["python", Path(sys.argv[0]).name, *arguments])
    sweep.attach()
    sys.argv[1:] = map(late, arguments)
    try:
        _hydra(lambda cfg: work(task, cfg, sweep.progress))
    except Exception as error:
        if exit_code(error) is not None or not sweep.progress.todo:
            raise
        # A launcher's process was killed, or its cluster gave up.
        why = f"{type(error).__name__}: {one_line(error)}"
        raise RunError(f"the launcher stopped ({why}); the same command goes on from there") from error
    sweep.end()


def _hydra(job: Callable[[DictConfig], object]) -> None:
    """Let Hydra compose the configuration and start the job, which has the environment of the user again, as have the
    processes that it starts."""
    given = os.environ.get(FULL_ERROR)

    def own(cfg: DictConfig) -> object:
        with _environment(given):
            return job(cfg)

    with _environment("1"):
        hydra.main(**VERSION_BASE, config_path=str(CONF), config_name="config")(own)()


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
