"""Converters and runtimes kept quiet, and their errors made one line."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from ghostlab.deploy.export.program import quiet
from ghostlab.errors import GhostlabError, RunError

__all__ = ["converting", "reading", "silent"]


@contextmanager
def silent() -> Iterator[None]:
    """Without warnings, logs or output, that of C++ included."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _nowhere(1), _nowhere(2):
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def converting(name: str) -> Iterator[None]:
    """``silent``, and whatever a converter raises is a ``RunError``."""
    with _one_line(f"{name}: it cannot be converted"), silent():
        yield


@contextmanager
def reading(path: Path, runtime: str) -> Iterator[None]:
    """``silent``, and whatever a runtime raises about ``path`` is a ``RunError``."""
    with _one_line(f"{path}: {runtime} cannot read it"), silent():
        yield


@contextmanager
def _one_line(message: str) -> Iterator[None]:
    try:
        yield
    except GhostlabError:
        raise
    except Exception as error:  # of whatever class foreign code raises
        cause = " ".join(str(error).split()) or type(error).__name__
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
