"""One run over several processes: what ``torchrun`` or ``srun`` started against what the configuration wants."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import torch
from pytorch_lightning.utilities import rank_zero_only

from ghostlab import slurm
from ghostlab.errors import UsageError
from ghostlab.runs.settings import TrainerConfig

__all__ = ["check_processes", "is_first", "refuse_several_processes"]

ALL = ("auto", "-1")
PATIENCE = 60.0
"""Seconds in which ``torchrun`` stops the other processes of a machine once one has failed."""


def check_processes(trainer: TrainerConfig) -> None:
    """Raise ``UsageError`` where ``trainer.devices`` and ``trainer.num_nodes`` are not what ``torchrun`` or ``srun``
    started.

    The first process of all raises it; those beside it leave the program with the same exit code and say nothing.
    """
    started = _started()
    if started is None:
        return
    if started.here * started.machines != started.all:
        _refuse(f"{started.by}: every machine must have the same {started.option}")
    if (_devices(trainer), trainer.num_nodes) != (started.here, started.machines):
        given = f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}"
        _refuse(f"{given}: {started}; use trainer.devices={started.here} trainer.num_nodes={started.machines}")


def refuse_several_processes(trainer: TrainerConfig) -> None:
    """Raise ``UsageError`` where a job of a sweep wants several processes: each would start the whole sweep itself.

    Of the processes of ``torchrun`` and ``srun`` the first one raises it, as in ``check_processes``.
    """
    started = _started()
    if started and (started.by == "torchrun" or started.all > 1):  # a single task of srun may be one of submitit
        _refuse(f"{started.by} starts one run, not a sweep: every process of it would start the sweep itself")
    for key, more in (("devices", _devices(trainer) > 1), ("num_nodes", trainer.num_nodes > 1)):
        if more:
            value = getattr(trainer, key)
            raise UsageError(
                f"trainer.{key}={value}: the runs of a sweep have one process each, as every other would start the"
                f" sweep itself; use trainer.{key}=1, and torchrun or trainer.devices for single runs"
            )


def is_first() -> bool:
    """Whether this process is the first one of its run, which writes its files."""
    return getattr(rank_zero_only, "rank", 0) == 0


@dataclass(frozen=True)
class _Started:
    """What a program started: ``here`` processes on each of ``machines``, if each has the same number of them."""

    by: str
    all: int
    here: int
    machines: int
    option: str
    machines_option: str

    def __str__(self) -> str:
        return f"{self.by} was started with {self.option} {self.here} {self.machines_option} {self.machines}"


def _started() -> _Started | None:
    if _under_torchrun():
        everywhere, here, machines = (
            int(os.environ[key]) for key in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE")
        )
        return _Started("torchrun", everywhere, here, machines, "--nproc-per-node", "--nnodes")
    if tasks := slurm.tasks():
        everywhere, machines = tasks
        return _Started("srun", everywhere, everywhere // machines, machines, "--ntasks-per-node", "--nodes")
    return None


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _devices(trainer: TrainerConfig) -> int:
    """How many processes Lightning makes of ``trainer.devices`` on one machine."""
    text = str(trainer.devices)
    if text in ALL:
        return max(torch.cuda.device_count(), 1) if trainer.accelerator in ("auto", "gpu", "cuda") else 1
    listed = [part for part in text.split(",") if part.strip()]
    try:
        return len(listed) if "," in text else int(text)
    except ValueError as error:
        raise UsageError(f"trainer.devices={text}: must be a number, a list such as 0,1, or auto") from error


def _refuse(message: str) -> None:
    if int(os.environ["RANK"] if _under_torchrun() else os.environ["SLURM_PROCID"]) == 0:
        raise UsageError(message)
    if _under_torchrun() and int(os.environ["LOCAL_RANK"]) > 0:
        time.sleep(PATIENCE)  # the first to leave has the others stopped: it must be the one that says why
    sys.exit(UsageError.exit_code)
