"""What a terminal shows while something is measured or made, and what a file or a pipe is spared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

__all__ = ["say", "tracked"]

T = TypeVar("T")


def say(line: str) -> None:
    """Print one line as it is, without wrapping and markup; of processes that train together the first one does."""
    from pytorch_lightning.utilities import rank_zero_only  # which takes seconds

    rank_zero_only(print)(line, flush=True)


def tracked(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """``items``, with a bar on stderr and an estimate of the time left, where that is a terminal.

    ``total`` is how many there are, where ``len(items)`` does not say it.
    """
    console = Console(stderr=True)
    total = len(items) if total is None and isinstance(items, Collection) else total
    yield from track(items, what, total, console=console, transient=True, disable=not console.is_terminal)
