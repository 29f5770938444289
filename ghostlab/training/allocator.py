"""The memory of a training step on a CPU, which is the same in each: glibc would give it back after every one."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
GIVEN = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""With which a user chooses himself, in the environment."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for what it allocates next; where there is no glibc, nothing is done.

    Otherwise large tensors are mapped anew each time, and every page of them is a fault that the system fills with
    zeros: a seventh of the time of a step of GhostNetV2 at 224 px.
    """
    if any(name in os.environ for name in GIVEN):
        return
    with suppress(AttributeError, OSError, TypeError):  # of musl, macOS and Windows
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(MMAP_THRESHOLD, 2**30)
