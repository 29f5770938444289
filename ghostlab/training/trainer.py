"""Lightning's trainer on the machine that ``trainer`` names, in 16 bits, and in a job of Slurm."""

from __future__ import annotations

import sys

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins import HalfPrecision
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn import Module

from ghostlab.data import Batch
from ghostlab.errors import RunError, UsageError, lacks_memory
from ghostlab.runs.settings import Settings, TrainerConfig
from ghostlab.slurm import endure, in_job, tasks
from ghostlab.training.allocator import keep_freed_memory
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.classifier import Classifier, as_classifier
from ghostlab.training.history import EpochLines, History, ProgressBar

__all__ = ["HalfWeights", "Rehearsal", "build_trainer", "check_machine", "cluster_environment"]


def build_trainer(settings: Settings, history: History, checkpoints: Checkpoints) -> Trainer:
    """Lightning's trainer for the machine that the settings name."""
    wanted = settings.trainer
    on_terminal = sys.stdout.isatty()
    shown: Callback = ProgressBar(history) if on_terminal else EpochLines(history)
    own = [callback for s in settings.strategies for callback in s.callbacks()]
    check_machine(wanted)
    half = HalfWeights("bf16-true") if wanted.precision == "bf16-true" else None
    trainer = Trainer(
        max_epochs=wanted.max_epochs,
        accelerator=wanted.accelerator,
        devices=wanted.devices,
        num_nodes=wanted.num_nodes,
        precision=None if half else wanted.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=wanted.accumulate,
        gradient_clip_val=wanted.clip,
        logger=False,  # a run's own is made later
        callbacks=[*own, Rehearsal(settings.data.batch_size), history, checkpoints, shown, SlurmSignals()],
        plugins=[plugin for plugin in (cluster_environment(), half) if plugin],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=on_terminal,
        # Where none of the files lies that Lightning loads unasked on Slurm.
        default_root_dir=checkpoints.run.checkpoints,
    )
    check_options(wanted, trainer)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    return trainer


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
            plugins=cluster_environment(),
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


def cluster_environment() -> ClusterEnvironment | None:
    """Lightning's ``plugins`` in a job.

    Of itself it would answer ``SIGUSR1`` with a checkpoint in the middle of an epoch and later load that unasked, and
    it would wait for the tasks of a job whose script did not start them with ``srun``.
    """
    if not in_job() or TorchElasticEnvironment.detect():
        return None
    return LightningEnvironment() if tasks() is None else SLURMEnvironment(auto_requeue=False)


class SlurmSignals(Callback):
    """``endure`` once Lightning has its own handler of ``SIGTERM``, which ends training after the next batch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        endure()


class HalfWeights(HalfPrecision):
    """bfloat16 weights, but float32 where a module keeps running statistics.

    These move by a tenth or a hundredth of what is left to go, which is soon less than eight bits can show, and would
    stop on the way.
    """

    def convert_module(self, module: Module) -> Module:
        module = super().convert_module(module)
        for part in module.modules():
            if any(name.startswith("running_") for name, _ in part.named_buffers(recurse=False)):
                part.float()
        return module


class Rehearsal(Callback):
    """Trains one step on noise of the size of the last stage and takes back what it changed.

    Weights are not updated, gradients are dropped, and the buffers are what they were, such as the statistics of batch
    norms. What the optimizer itself keeps is not part of the trial. Raises ``RunError`` when memory does not suffice.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        classifier = as_classifier(pl_module)
        if len(classifier.stages) == 1:
            return
        buffers = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
        try:
            self._step(trainer, classifier)
        except Exception as error:
            if not lacks_memory(error):
                raise
            size = classifier.stages.last.image_size
            raise RunError(
                f"out of memory in the last stage, at {size} px, which was tried first: try a smaller data.batch_size,"
                " data.image_size or trainer.grad_checkpointing=true"
            ) from error
        finally:
            classifier.zero_grad(set_to_none=True)
            _restore(classifier, buffers)

    def _step(self, trainer: Trainer, classifier: Classifier) -> None:
        stage = classifier.stages.last
        classifier.rates.set(stage.strengths)
        size = (self.batch_size, 3, stage.image_size, stage.image_size)
        none = torch.zeros(self.batch_size, dtype=torch.int64)
        batch = classifier.on_before_batch_transfer(Batch(torch.randn(size), none, none, none), 0)
        batch = trainer.strategy.batch_to_device(batch, classifier.device)
        batch = trainer.precision_plugin.convert_input(batch)
        loss = trainer.strategy.training_step(batch, 0)
        assert isinstance(loss, Tensor)
        classifier.backward(loss)


@torch.no_grad()
def _restore(classifier: Classifier, buffers: dict[str, Tensor]) -> None:
    for name, buffer in classifier.named_buffers():
        buffer.copy_(buffers[name])
