"""The most memory a run has held: of the GPU where it trains on one, else of the process."""

from __future__ import annotations

import resource
import sys

import torch

__all__ = ["peak_memory_mb", "reset_peak_memory"]

# ru_maxrss counts bytes on macOS and KiB elsewhere.
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def reset_peak_memory(device: torch.device) -> None:
    """Start counting anew; only a GPU's allocator can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: torch.device) -> float:
    """MiB allocated at most on a CUDA device since the last reset, or resident at most since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT / 2**20
