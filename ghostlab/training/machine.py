"""Whether the machine has what ``trainer.accelerator`` and ``trainer.devices`` name."""

from __future__ import annotations

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ghostlab.errors import RunError, UsageError
from ghostlab.training.settings import TrainerConfig
from ghostlab.training.slurm import cluster

__all__ = ["check_machine"]


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
