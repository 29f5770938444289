"""What a run fails of: one line for the user, and the traceback in the run's ``log.txt``."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only
from torch.distributed import DistError

from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.runs.messages import one_line
from ghostlab.runs.run import Run

__all__ = ["log_failures"]


@contextmanager
def log_failures(run: Run) -> Iterator[None]:
    """Append the traceback of what fails to the run's ``log.txt``, and name that file in the error's line.

    What has a cause in other code, or is no error of this package, becomes a ``RunError`` or stays the error of this
    package that it is; a user's mistake is passed on as it is and leaves no trace.
    """
    try:
        yield
    except Exception as last:
        error = _first(last)
        own = isinstance(error, GhostlabError)
        if own and (isinstance(error, UsageError) or not _is_foreign(error.__cause__)):
            raise error from error.__cause__
        kept = _kept(run.log_file, error)
        raise (type(error) if own else RunError)(
            _told(error) + (f"; details: {run.log_file}" if kept else "")
        ) from error


def _first(error: Exception) -> Exception:
    """What has failed where Lightning's clean-up fails, too, which asks a loader that never began for its length."""
    first = error.__context__
    return _first(first) if "iter(combined_loader)" in str(error) and isinstance(first, Exception) else error


def _told(error: Exception) -> str:
    if isinstance(error, (GhostlabError, OSError)):
        return one_line(error)
    if isinstance(error, RuntimeError) and (isinstance(error, DistError) or "/gloo/" in str(error)):
        return "another process of this run has ended, and has said why if it could"
    return f"{type(error).__name__}: {one_line(error)}"


def _is_foreign(cause: BaseException | None) -> bool:
    return cause is not None and (not isinstance(cause, GhostlabError) or _is_foreign(cause.__cause__))


def _kept(file: Path, error: Exception) -> bool:
    """Whether there was room for it: a full disk may be what has failed."""
    rank = getattr(rank_zero_only, "rank", 0)
    title = time.strftime("%Y-%m-%d %H:%M:%S") + (f", process {rank}" if rank else "")
    try:
        with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"\n{title}\n{''.join(traceback.format_exception(error))}")
    except OSError:
        return False
    return True
