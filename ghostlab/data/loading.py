"""Loading processes: how many there are, how they are started, and how batches come from them to the main process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ghostlab.data.samples import Batch, Sample, collate
from ghostlab.data.sampling import rank_and_world
from ghostlab.errors import RunError
from ghostlab.files import shown

__all__ = ["Loader", "automatic_workers", "loader"]

MAX_WORKERS = 8
PREFETCHED = 2
"""Batches that each process makes ahead."""
SHARED = Path("/dev/shm")
"""Where Linux keeps the memory that processes share; containers often have 64 MiB of it."""

logger = logging.getLogger(__name__)


class Loader(DataLoader[Any]):
    """A loader whose batches go through ``check`` in the main process, whoever asks for them.

    A batch of which no image could be read is empty; an epoch of such batches is a ``RunError``.
    """

    def __init__(self, *args: Any, check: Callable[[Batch], Batch], **options: Any) -> None:
        super().__init__(*args, **options)
        self.check = check

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        first, readable = None, False
        for sent in super().__iter__():
            batch = _received(sent)
            first = first or batch.unreadable[:1]
            readable = readable or len(batch.targets) > 0
            yield self.check(batch)
        if first and not readable:
            [(path, reason)] = first
            raise RunError(f"no image could be read, beginning with {shown(path)}: {reason}")


def loader(
    dataset: Any, check: Callable[[Batch], Batch], workers: int, batch_bytes: int, seed: int, **options: Any
) -> Loader:
    """A loader with so many processes, whose batches of ``batch_bytes`` come through memory that is there for them."""
    workers, piped = _fitting(workers, batch_bytes)
    # Chosen here, for launchers have methods of their own, which cannot start loading processes.
    method = "fork" if sys.platform == "linux" else "spawn"
    return Loader(
        dataset,
        check=check,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=method if workers else None,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_collate_for_pipes if piped else collate,
        # without a generator of its own a loader draws from the global one, and loading would change training
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


def automatic_workers() -> int:
    """One a core that this process may use, at most ``MAX_WORKERS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, cores)


def _fitting(workers: int, batch_bytes: int) -> tuple[int, bool]:
    """How many processes there can be, and whether their batches must come through pipes."""
    if not workers or not SHARED.is_dir():
        return workers, False
    if not os.access(SHARED, os.W_OK):
        _say_once(f"data.workers=0, for processes share memory in {SHARED}, which cannot be written")
        return 0, False
    free = os.statvfs(SHARED)
    there = free.f_bavail * free.f_frsize
    beside = int(os.environ.get("LOCAL_WORLD_SIZE") or rank_and_world()[1])
    # Each process makes batches ahead, two more are in use, and training and validation have processes of their own.
    needed = 2 * beside * (PREFETCHED * workers + 2) * batch_bytes
    if needed <= there:
        return workers, False
    _say_once(
        f"{SHARED} has {_mib(there)} free, the batches of data.workers={workers} may need {_mib(needed)}: they come"
        f" through pipes, which takes longer; docker run --shm-size={-(-needed // 2**30)}g gives the memory"
    )
    return workers, True


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


@cache
def _say_once(line: str) -> None:
    logger.warning("%s", line)


def _collate_for_pipes(samples: Sequence[Sample]) -> Batch:
    """As ``collate``, with arrays: what processes send of these goes through a pipe, tensors through shared memory."""
    return Batch._make(value.numpy() if isinstance(value, Tensor) else value for value in collate(samples))


def _received(batch: Batch) -> Batch:
    return Batch._make(torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in batch)
