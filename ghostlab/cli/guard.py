"""What all commands share: errors in one line, and the exit codes 0 (success), 2 (bad usage) and 1 (another cause)."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping

from ghostlab.runs.messages import exit_code, one_line

__all__ = ["Command", "guarded", "subcommand"]

Command = Callable[[argparse.Namespace], None]

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
