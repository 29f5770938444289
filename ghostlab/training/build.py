"""From settings to the parts of a run: data, task, student, Lightning module and trainer."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from ghostlab.data import DataModule
from ghostlab.errors import UsageError, keyed
from ghostlab.models import create_model
from ghostlab.models.options import WEIGHTS, model_arguments
from ghostlab.models.rates import DROP_PATH, DROPOUT
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.runs.settings import Settings
from ghostlab.strategies.base import Task
from ghostlab.training.model_checks import trains_on
from ghostlab.training.stages import Stages

__all__ = ["build_data", "build_model", "build_optimizer", "build_task", "change_model", "sync_batch_norms"]

CONVERTIBLE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNormAct2d)
"""Batch norms that timm's converter knows."""


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
    return sync_batch_norms(model) if settings.trainer.sync_batchnorm else model


def sync_batch_norms(model: nn.Module) -> nn.Module:
    """``model`` with synchronised batch norms in place of its own: the same function, parameters and names of weights.

    By timm's converter, as torch's forgets the activation that timm's norms apply. Raises ``UsageError`` for a norm
    that does more than either knows.
    """
    norms = [module for module in model.modules() if isinstance(module, CONVERTIBLE)]
    if unknown := sorted({type(m).__name__ for m in norms if type(m) not in CONVERTIBLE}):
        raise UsageError(f"trainer.sync_batchnorm=true: {type(model).__name__} has norms of its own, {unknown[0]}")
    return convert_sync_batchnorm(model)


def build_optimizer(settings: Settings, world_size: int = 1) -> OptimizerConfig:
    """The optimizer's settings for the images that ``world_size`` processes see between two of its steps."""
    return settings.optimizer.for_steps_of(settings.data.batch_size * world_size * settings.trainer.accumulate)


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
