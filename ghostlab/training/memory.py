"""The most memory a run has held: of the GPU where it trains on one, else of the process."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from contextlib import suppress
from pathlib import Path

import torch

__all__ = ["PeakMemory"]

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What ``clear_refs`` takes it for: see proc_pid_clear_refs(5)."""


class PeakMemory:
    """Counts from when it is made, so that a run in a process of many has a figure of its own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif not _reset_resident():
            self._before = _most_resident() or float("inf")

    def mib(self) -> float | None:
        """MiB allocated at most on a CUDA device, or resident at most in this process.

        None where the system only tells the most since the process began, and that was reached before.
        """
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        most = _most_resident()
        return most if most and most > self._before else None


def _reset_resident() -> bool:
    """Whether the system could be told to count anew: Linux can, unless a container forbids it.

    What earlier runs have freed is given back first, as far as the C library knows how to.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _most_resident() -> float | None:
    """MiB resident at most since the system last began to count; None where it does not count (Windows)."""
    try:
        [kib] = re.findall(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(), re.MULTILINE)
        return int(kib) / 2**10
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    bytes_per_unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 2**20
