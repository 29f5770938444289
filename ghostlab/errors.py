"""Errors that a user can act on: one line each, with the exit code that a command gives it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BusyError",
    "GhostlabError",
    "RunError",
    "UsageError",
    "WriteError",
    "lacks_memory",
    "nearest",
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


def unknown(kind: str, name: str, known: Iterable[str], limit: int = 40) -> UsageError:
    """The error for a name that does not exist, with the nearest one and (up to ``limit``) all that do."""
    names = sorted(known)
    listed = ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
    hint = nearest(name, names)
    return UsageError(f"no {kind} '{name}'{hint}{'' if hint else ';'} available: {listed}")
