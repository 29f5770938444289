"""Lightning in a job of Slurm, whose end and whose place in the queue are Slurm's own business."""

from __future__ import annotations

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from ghostlab.slurm import endure, in_job, tasks

__all__ = ["Enduring", "cluster"]


def cluster() -> ClusterEnvironment | None:
    """Lightning's ``plugins`` in a job.

    Of itself it would answer ``SIGUSR1`` with a checkpoint in the middle of an epoch and later load that unasked, and
    it would wait for the tasks of a job whose script did not start them with ``srun``.
    """
    if not in_job() or TorchElasticEnvironment.detect():
        return None
    return LightningEnvironment() if tasks() is None else SLURMEnvironment(auto_requeue=False)


class Enduring(Callback):
    """``endure`` once Lightning has its own handler of ``SIGTERM``, which ends training after the next batch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        endure()
