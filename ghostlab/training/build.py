"""From settings to the parts of a run: data, task, student, Lightning module and trainer."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import nn

from ghostlab.data import DataModule
from ghostlab.errors import UsageError, keyed
from ghostlab.models import create_model
from ghostlab.models.options import WEIGHTS, model_arguments
from ghostlab.models.rates import DROP_PATH, DROPOUT
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.settings import Settings
from ghostlab.strategies.base import Task
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.half import HalfWeights
from ghostlab.training.history import History
from ghostlab.training.machine import check_machine, check_options
from ghostlab.training.progress import EpochLines, ProgressBar
from ghostlab.training.rehearsal import Rehearsal
from ghostlab.training.slurm import Enduring, cluster
from ghostlab.training.smallest_batch import trains_on
from ghostlab.training.stages import Stages
from ghostlab.training.synchronised import synchronised

__all__ = ["build_data", "build_model", "build_optimizer", "build_task", "build_trainer", "change_model"]


def build_data(settings: Settings) -> DataModule:
    """The data module, set up, with the training transforms of all strategies."""
    task = _task(settings, settings.data.num_classes or 0, steps_per_epoch=0)
    stages = Stages(settings.strategies, task)
    data = DataModule(settings.data, settings.seed, views=stages.views, view_of=stages.number)
    data.setup()
    return data


def build_task(settings: Settings, data: DataModule, world_size: int = 1) -> Task:
    """What the run trains on, and for how many optimizer steps with ``world_size`` processes."""
    batches = data.train_size // world_size // settings.data.batch_size
    return _task(settings, data.num_classes, math.ceil(batches / settings.trainer.accumulate))


def build_model(settings: Settings, task: Task) -> nn.Module:
    """The student as it will be deployed, with freshly drawn weights, the same for the same seed, or those of timm.

    Weights of a path in ``model.pretrained`` are given to it by ``training.transfer.start``.
    """
    torch.manual_seed(settings.seed)
    options = _model_options(settings)
    if isinstance(options.get("pretrained"), str):
        del options["pretrained"]
    with keyed("model"):
        return create_model(num_classes=task.num_classes, **options)


def change_model(model: nn.Module, settings: Settings, task: Task) -> nn.Module:
    """The student as all strategies want it for training."""
    for strategy in settings.strategies:
        model = strategy.change_model(model, task)
    if settings.trainer.grad_checkpointing:
        _checkpoint_gradients(model, settings.model["name"])
    if settings.data.batch_size == 1 and not settings.trainer.sync_batchnorm:
        _require_one_image_to_do(model, settings, task)
    return synchronised(model) if settings.trainer.sync_batchnorm else model


def build_optimizer(settings: Settings, world_size: int = 1) -> OptimizerConfig:
    """The optimizer's settings for the images that ``world_size`` processes see between two of its steps."""
    return settings.optimizer.for_steps_of(settings.data.batch_size * world_size * settings.trainer.accumulate)


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
        callbacks=[*own, Rehearsal(settings.data.batch_size), history, shown, checkpoints, Enduring()],
        plugins=[plugin for plugin in (cluster(), half) if plugin],
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=on_terminal,
        # Where none of the files lies that Lightning loads unasked on Slurm.
        default_root_dir=checkpoints.run.checkpoints,
    )
    check_options(wanted, trainer)
    return trainer


def _task(settings: Settings, num_classes: int, steps_per_epoch: int) -> Task:
    data = settings.data
    return Task(
        num_classes=num_classes,
        image_size=data.image_size,
        mean=tuple(data.mean),
        std=tuple(data.std),
        epochs=settings.trainer.max_epochs,
        steps_per_epoch=steps_per_epoch,
        pretrained=any(settings.model.get(key) for key in WEIGHTS),
        strengths=_strengths(settings),
    )


def _model_options(settings: Settings) -> dict[str, Any]:
    options = model_arguments(settings.model)
    for strategy in settings.strategies:
        options |= strategy.model_options()
    return options


def _strengths(settings: Settings) -> dict[str, float]:
    """What may be scheduled of the model, where it is not 0, and of the strategies."""
    options = _model_options(settings)
    rates = {
        key: options[key.removeprefix("model.")]
        for key in (DROPOUT, DROP_PATH)
        if key.removeprefix("model.") in options
    }
    of_model = {key: rate for key, rate in rates.items() if rate}
    return {**of_model, **{key: value for s in settings.strategies for key, value in s.strengths().items()}}


def _require_one_image_to_do(model: nn.Module, settings: Settings, task: Task) -> None:
    size = Stages(settings.strategies, task).smallest
    if not trains_on(model, torch.zeros(1, len(task.mean), size, size)):
        raise UsageError(
            f"data.batch_size=1: '{settings.model['name']}' makes one pixel of an image of {size} px, too few values"
            " for its batch norms; use a data.batch_size of at least 2, or a larger data.image_size"
        )


def _checkpoint_gradients(model: Any, name: str) -> None:
    if not hasattr(model, "set_grad_checkpointing"):
        raise UsageError(f"trainer.grad_checkpointing=true: model '{name}' has no gradient checkpointing")
    model.set_grad_checkpointing(True)
