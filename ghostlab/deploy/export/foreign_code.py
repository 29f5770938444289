"""Converters and runtimes kept quiet, and their errors made one line."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from ghostlab.errors import GhostlabError, RunError

__all__ = ["conversion_errors", "inference_errors", "reading_errors", "silenced"]


@contextmanager
def silenced() -> Iterator[None]:
    """Without warnings, logs or output, that of C++ included."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            _nowhere(1),
            _nowhere(2),
        ):
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def conversion_errors(name: str) -> Iterator[None]:
    """``silenced``, and whatever a converter raises is a ``RunError``, but for what the system refuses."""
    with _one_line(f"{name}: it cannot be converted", (OSError,)), silenced():
        yield


@contextmanager
def reading_errors(path: Path, runtime: str) -> Iterator[None]:
    """``silenced``, and whatever a runtime raises about ``path`` is a ``RunError``."""
    with _one_line(f"{path}: {runtime} cannot read it"), silenced():
        yield


@contextmanager
def inference_errors(name: str) -> Iterator[None]:
    """Whatever a runtime raises over a file that it could open is a ``RunError``."""
    with _one_line(f"{name}: its file cannot be run", (OSError,)):
        yield


@contextmanager
def _one_line(message: str, let_through: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of whatever class foreign code raises
        if isinstance(error, (GhostlabError, *let_through)):
            raise
        root: BaseException = error
        while root.__cause__ is not None:  # the first error says what it is about, those above it what to report
            root = root.__cause__
        cause = " ".join(str(root).split()) or type(root).__name__
        raise RunError(f"{message}: {cause[:160]}") from error


@contextmanager
def _nowhere(descriptor: int) -> Iterator[None]:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    kept = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
