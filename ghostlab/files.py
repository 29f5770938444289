"""Files that are either there whole or not there, and where those of all runs lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_folder", "shown", "write_file", "write_text"]


def cache_folder() -> Path:
    """``$GHOSTLAB_CACHE``, else ``ghostlab`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    given = os.environ.get("GHOSTLAB_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ghostlab"


def shown(path: str | Path) -> str:
    """A file's name as text that can be written everywhere: bytes that are not UTF-8 become ``\\xe9`` and the like."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it; on an error nothing is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once, in UTF-8; what that cannot hold, of file names in another encoding, as an escape."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))
