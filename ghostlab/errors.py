"""Errors that a user can act on: one line each, with the exit code that a command gives it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = [
    "BusyError",
    "GhostlabError",
    "RunError",
    "UsageError",
    "WriteError",
    "keyed",
    "lacks_memory",
    "nearest",
    "shortened",
    "unknown",
]


class GhostlabError(Exception):
    """An error whose message is one line that the command line prints as it is, without a traceback."""

    exit_code = 1


class RunError(GhostlabError):
    """Something failed while working: an unreadable image, a NaN loss, a proof that does not hold."""


class BusyError(RunError):
    """Another process is doing it right now."""


class WriteError(RunError, OSError):
    """A file cannot be written: no room, no permission, a file where a folder is wanted."""


class UsageError(GhostlabError, ValueError):
    """A value that the user gave is not allowed; the message names the key, the value and what is allowed."""

    exit_code = 2


OPTION = re.compile("[a-z_]+=")


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """Let a ``UsageError`` that begins with an option name it as a configuration does.

    >>> from ghostlab.errors import UsageError, keyed
    >>> with keyed("strategy.kd"):
    ...     raise UsageError("stages=9: the student has stages from -5 to 4")
    Traceback (most recent call last):
    ghostlab.errors.UsageError: strategy.kd.stages=9: the student has stages from -5 to 4
    """
    try:
        yield
    except UsageError as error:
        if OPTION.match(str(error)):
            raise UsageError(f"{key}.{error}") from error
        raise


def lacks_memory(error: BaseException) -> bool:
    """Whether it says that the machine or a GPU has not enough memory."""
    if isinstance(error, MemoryError):
        return True
    told = ("out of memory", "can't allocate memory")  # by torch: of a GPU, whose class is torch's own, and of the CPU
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name closest to ``name``, or an empty string when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def shortened(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a list, and how many there are where they are more than ``limit``."""
    return ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")


def unknown(kind: str, name: str, known: Iterable[str], limit: int = 40) -> UsageError:
    """The error for a name that does not exist, with the nearest one and (up to ``limit``) all that do."""
    names = sorted(known)
    hint = nearest(name, names)
    return UsageError(f"no {kind} '{name}'{hint}{'' if hint else ';'} available: {shortened(names, limit)}")
