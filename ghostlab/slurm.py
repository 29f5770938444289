"""A job of Slurm: training goes on until Slurm ends it, and what is queued again goes on after its last epoch."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["endure", "enduring", "in_job", "tasks"]

INTERACTIVE = ("bash", "interactive")
"""Names of jobs that are a terminal, as in Lightning: who started training there ends it, too."""


def in_job() -> bool:
    """Whether this process belongs to a job that waits for nobody: one of ``sbatch``, with or without ``srun``."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def tasks() -> tuple[int, int] | None:
    """How many processes ``srun`` started, and on how many machines; None where it started none."""
    if not in_job() or "SLURM_STEP_NUM_TASKS" not in os.environ:
        return None
    return int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ["SLURM_STEP_NUM_NODES"])


@contextmanager
def enduring() -> Iterator[None]:
    """In a job, let ``SIGTERM`` pass and have ``SIGUSR1`` queue the job again.

    Slurm sends ``SIGTERM`` some time before it takes the place of a job for another one, and queues only such a job
    again that has not ended by itself until then. ``SIGUSR1`` is what ``sbatch --signal=USR1@60`` sends before the time
    limit, after which Slurm queues nothing again.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)} if _hears() else {}
    endure()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def endure() -> None:
    """Answer the signals as in ``enduring`` from now on."""
    if _hears():
        signal.signal(signal.SIGTERM, _go_on)
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # not that of submitit
            signal.signal(signal.SIGUSR1, _queue_again)


def _hears() -> bool:
    return in_job() and threading.current_thread() is threading.main_thread()


def _go_on(number: int, frame: FrameType | None) -> None:
    if _first():
        os.write(
            2, b"Slurm is about to end this job; training goes on until then, and goes on when it is queued again\n"
        )


def _queue_again(number: int, frame: FrameType | None) -> None:
    if _first():
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        subprocess.run(["scontrol", "requeue", f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]], check=False)


def _first() -> bool:
    return os.environ.get("SLURM_PROCID", "0") == "0" and os.environ.get("LOCAL_RANK", "0") == "0"
