"""Whether the machine has and does what ``trainer`` names, and what it is called."""

from __future__ import annotations

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ghostlab.errors import RunError, UsageError
from ghostlab.runs.settings import TrainerConfig
from ghostlab.training.slurm import cluster

__all__ = ["check_machine", "check_options", "device_name"]


def check_machine(wanted: TrainerConfig) -> None:
    """Raise ``UsageError`` for an accelerator or devices that are not there, ``RunError`` for those that fail.

    Lightning's trainer looks for itself and raises what it likes. So it is made of these options alone first: what it
    raises later on has another cause.
    """
    given = f"trainer.accelerator={wanted.accelerator}, trainer.devices={wanted.devices}"
    try:
        Trainer(
            accelerator=wanted.accelerator,
            devices=wanted.devices,
            num_nodes=wanted.num_nodes,
            plugins=cluster(),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
    except (ValueError, TypeError, ImportError, MisconfigurationException) as error:
        raise UsageError(f"{given}: {' '.join(str(error).split())}") from error
    except RuntimeError as error:  # of the driver
        raise RunError(f"{given}: {' '.join(str(error).split())}") from error


def check_options(wanted: TrainerConfig, trainer: Trainer) -> None:
    """Raise ``UsageError`` for an option that ``trainer`` has changed, or would only fail with once it trains."""
    if trainer.precision != wanted.precision:
        raise UsageError(
            f"trainer.precision={wanted.precision}: here only {trainer.precision} can be had; use"
            f" trainer.precision={trainer.precision}"
        )
    if wanted.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise UsageError("trainer.sync_batchnorm=true: PyTorch synchronises batch norms on GPUs only")


def device_name(device: torch.device) -> str:
    """Of a GPU the name of the card, of a CPU the number of threads that it computes with."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
