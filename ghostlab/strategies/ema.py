"""Exponential moving average of the weights: what is evaluated and deployed is an average over the last steps.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992). The warm-up of the decay is that of
``tf.train.ExponentialMovingAverage``, as EfficientNet uses it (https://arxiv.org/abs/1905.11946).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ghostlab.errors import RunError, UsageError
from ghostlab.private_apis import foreach_copy_
from ghostlab.reparam.copying import copy_of
from ghostlab.strategies.base import Services, Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["Ema", "EmaCallback", "Pairs", "ema_decay", "ema_update", "pair"]

logger = logging.getLogger(__name__)


def ema_decay(updates: int, decay: float, warmup: bool = True) -> float:
    """The decay of the next update after ``updates`` of them: with warm-up ``min(decay, (1 + t) / (10 + t))``."""
    return min(decay, (1 + updates) / (10 + updates)) if warmup else decay


class Pairs(NamedTuple):
    """The tensors of an averaged model and, in the same order, those of the model in training."""

    averaged: list[Tensor]
    current: list[Tensor]
    averaged_counters: list[Tensor]
    current_counters: list[Tensor]


def pair(averaged: nn.Module, current: nn.Module) -> Pairs:
    """Pair parameters and buffers by name; those that are not floating-point are counters, copied and not averaged.

    The tensors are those of now: pair again when a model was moved to another device.
    """
    ours, theirs = _tensors(averaged), _tensors(current)
    floats = [name for name, tensor in ours.items() if tensor.is_floating_point()]
    counters = [name for name in ours if name not in set(floats)]
    return Pairs(*([source[name] for name in names] for names in (floats, counters) for source in (ours, theirs)))


@torch.no_grad()
def ema_update(pairs: Pairs, decay: float) -> None:
    """``averaged = decay * averaged + (1 - decay) * current`` in place, all tensors at once."""
    get_ema_multi_avg_fn(decay)(pairs.averaged, pairs.current, 0)
    if pairs.averaged_counters:
        foreach_copy_(pairs.averaged_counters, pairs.current_counters)


class EmaCallback(Callback):
    """Keeps the average beside the model in training, whose own weights are never touched.

    The averaged model is a copy of ``pl_module.model`` alone, put into ``pl_module.evaluated["ema"]`` and, as
    ``state_dict_ema``, into every checkpoint.
    """

    def __init__(self, decay: float, warmup: bool) -> None:
        self.decay, self.warmup = decay, warmup
        self.updates = 0
        self._averaged: nn.Module = nn.Identity()
        self._seen_step = 0

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            self._averaged = copy_of(pl_module.model).requires_grad_(False).eval()
            pl_module.evaluated["ema"] = self._averaged

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the model to its device and precision, which it has only now."""
        like = next(pl_module.parameters())
        if like.dtype in (torch.float16, torch.bfloat16):
            raise UsageError("strategy=ema: 16-bit weights cannot hold an average; use trainer.precision=bf16-mixed")
        self._averaged.to(like.device, like.dtype)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._pairs = pair(self._averaged, pl_module.model)
        self._seen_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self._seen_step:
            return
        self._seen_step = trainer.global_step
        ema_update(self._pairs, ema_decay(self.updates, self.decay, self.warmup))
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates = state_dict["updates"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict_ema"] = self._averaged.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if "state_dict_ema" not in checkpoint:
            raise RunError("strategy=ema: the checkpoint to continue from holds no averaged weights (state_dict_ema)")
        self._averaged.load_state_dict(checkpoint["state_dict_ema"])


@dataclass
class Ema(Strategy):
    """Averages the weights after every optimizer step; raw and averaged weights are both evaluated."""

    name = "ema"
    decay: float = 0.9999
    warmup: bool = True

    def __post_init__(self) -> None:
        within("strategy.ema.decay", self.decay, "[0, 1)")

    def prepare(self, model: nn.Module, task: Task, services: Services) -> None:
        """Warn when most of the average would still be the initial weights at the end of the run."""
        left = self.decay**task.total_steps
        if not self.warmup and left > 0.1:
            logger.warning(
                "strategy.ema.decay=%g without warm-up: after %d steps the average is still %.0f %% initial weights",
                self.decay, task.total_steps, 100 * left,
            )  # fmt: skip

    def callbacks(self) -> list[Callback]:
        return [EmaCallback(self.decay, self.warmup)]

    def describe(self) -> str:
        return f"decay {self.decay:g}" + (", with warm-up" if self.warmup else "")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
