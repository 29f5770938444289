"""One run over several processes: what ``torchrun`` started against what the configuration wants."""

from __future__ import annotations

import os
import sys
import time

import torch
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.errors import UsageError
from ghostlab.training.settings import TrainerConfig

__all__ = ["check_processes", "is_first", "refuse_several_processes"]

ALL = ("auto", "-1")
PATIENCE = 60.0
"""Seconds in which ``torchrun`` stops the other processes of a machine once one has failed."""


def check_processes(trainer: TrainerConfig) -> None:
    """Raise ``UsageError`` where ``trainer.devices`` and ``trainer.num_nodes`` are not what ``torchrun`` started.

    The first process of all raises it; those beside it leave the program with the same exit code and say nothing.
    """
    if not _under_torchrun():
        return
    here, machines = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    if here * machines != int(os.environ["WORLD_SIZE"]):
        _refuse("torchrun: every machine must have the same --nproc-per-node")
    if (_devices(trainer), trainer.num_nodes) != (here, machines):
        given = f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}"
        fitting = f"trainer.devices={here} trainer.num_nodes={machines}"
        _refuse(f"{given}: torchrun was started with --nproc-per-node {here} --nnodes {machines}; use {fitting}")


def refuse_several_processes(trainer: TrainerConfig) -> None:
    """Raise ``UsageError`` where a job of a sweep wants several processes: each would start the whole sweep itself.

    Of the processes of ``torchrun`` the first one raises it, as in ``check_processes``.
    """
    if _under_torchrun():
        _refuse("torchrun starts one run, not a sweep: every process of it would start the sweep itself")
    for key, several in (("devices", _devices(trainer) > 1), ("num_nodes", trainer.num_nodes > 1)):
        if several:
            value = getattr(trainer, key)
            raise UsageError(
                f"trainer.{key}={value}: the runs of a sweep have one process each, as every other would start the"
                f" sweep itself; use trainer.{key}=1, and torchrun or trainer.devices for single runs"
            )


def is_first() -> bool:
    """Whether this process is the first one of its run, which writes its files."""
    return getattr(rank_zero_only, "rank", 0) == 0


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
    except ValueError:
        raise UsageError(f"trainer.devices={text}: must be a number, a list such as 0,1, or auto") from None


def _refuse(message: str) -> None:
    if int(os.environ["RANK"]) == 0:
        raise UsageError(message)
    if int(os.environ["LOCAL_RANK"]) > 0:
        time.sleep(PATIENCE)  # the first to leave has the others stopped: it must be the one that says why
    sys.exit(UsageError.exit_code)
