"""Files that are either there whole or not there, one line for those that cannot be written, and where caches lie."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from ghostlab.errors import WriteError

__all__ = [
    "cache_folder",
    "folder_name",
    "require_writable",
    "shown",
    "write_file",
    "write_files",
    "write_text",
    "writing",
]

Write = Callable[[Path], object]
"""Fills a file."""


def cache_folder() -> Path:
    """``$GHOSTLAB_CACHE``, else ``ghostlab`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    given = os.environ.get("GHOSTLAB_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ghostlab"


def shown(path: str | Path) -> str:
    """A file's name as text that can be written everywhere: bytes that are not UTF-8 become ``\\xe9`` and the like."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def folder_name(name: str) -> str:
    """The name of a data set or a model, "hub/net" or "my_project.nets:tiny", as that of one folder everywhere."""
    return re.sub("[/:]", "_", name)


def write_file(path: Path, write: Write) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it; on an error nothing is left behind.

    Raises ``WriteError`` for what the system refuses.
    """
    write_files({path: write})


def write_files(writers: Mapping[Path, Write]) -> None:
    """As ``write_file``, for files that belong together: none is renamed before all are filled."""
    with ExitStack() as stack:
        filled = [(_filled(path, write, stack), path) for path, write in writers.items()]
        for temporary, path in filled:
            with writing(path):
                temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once, in UTF-8; what that cannot hold, of file names in another encoding, as an escape."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses is a ``WriteError`` that names ``path``."""
    try:
        yield
    except WriteError:
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        if isinstance(error, FileExistsError):
            reason = f"{error.filename} is not a folder"
        raise WriteError(f"{path}: cannot be written: {reason}") from error


def require_writable(folder: Path) -> None:
    """Raise ``WriteError`` unless files can be made in ``folder`` or, where it is not there yet, in the first one
    above it that is. Nothing is left behind."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.access(place, os.F_OK))
    with writing(folder), tempfile.TemporaryFile(dir=there):
        pass


def _filled(path: Path, write: Write, stack: ExitStack) -> Path:
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stack.callback(temporary.unlink, missing_ok=True)
        write(temporary)
    return temporary
