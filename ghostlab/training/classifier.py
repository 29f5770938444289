"""One training step, from a batch to its loss: the only place where what the joined strategies do comes together."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ghostlab.data import Batch
from ghostlab.errors import RunError, UsageError
from ghostlab.kernels import DepthwiseKernels
from ghostlab.models.rates import DropRates
from ghostlab.runs.optimizer import OptimizerConfig
from ghostlab.strategies.base import MainLoss, Step, Strategy, Task
from ghostlab.training.metrics import LossLog, Scores, average_statistics, reduce_figures
from ghostlab.training.model_checks import trains_on
from ghostlab.training.stages import Stages

__all__ = ["Classifier", "TrainingStep", "as_classifier"]


class TrainingStep:
    """Changes the targets, mixes the batch, asks the model, and adds up the loss.

    The main loss is cross-entropy, called ``ce``, or that of the one strategy that has another, called by the
    strategy's name. Weights of ``ce`` are those of the main loss, whatever it is called.

    Raises ``UsageError`` for two strategies that both give the main loss, or a term of the same name, and for the
    weight of a term that no strategy gives.
    """

    def __init__(self, strategies: Sequence[Strategy], task: Task) -> None:
        self.strategies, self.task = strategies, task
        self.stages = Stages(strategies, task)
        self.main, self._main_loss = _main_loss(strategies)
        self._weights = _product_of_weights(strategies, self.main)

    def look_up(self, batch: Batch, epoch: int) -> Batch:
        """The batch, still on the CPU, with what strategies know beforehand of its images in an epoch (from 0)."""
        known: dict[str, Tensor] = {}
        for strategy in self.strategies:
            known |= strategy.lookup(epoch, batch.index)
        return batch._replace(mixing_seed=int(batch.seed[0]), known=known)

    def forward(self, model: Callable[[Tensor], Tensor], batch: Batch, epoch: int) -> Step:
        """What the model (B, 3, H, W) -> (B, classes) saw of a batch and answered."""
        targets = batch.targets
        for strategy in self.strategies:
            targets = strategy.change_targets(targets, self.task)
        images, targets = self.stages.mixing(epoch)(batch.images, targets, batch.mixing_seed)
        return Step(images=images, targets=targets, logits=model(images), known=batch.known)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum to be minimised, and its terms without their weights."""
        terms = {self.main: self._main_loss(step.logits.float(), step.targets)}
        for strategy in self.strategies:
            added = strategy.loss_terms(step)
            if twice := terms.keys() & added.keys():
                raise UsageError(
                    f"strategy '{strategy.name}' adds the loss term '{min(twice)}', which is there already"
                )
            terms |= added
        if missing := self._weights.keys() - terms.keys():
            raise UsageError(f"loss_weights has '{min(missing)}'; the terms of this run are {', '.join(terms)}")
        return torch.stack([self._weights.get(name, 1.0) * value for name, value in terms.items()]).sum(), terms


def _main_loss(strategies: Sequence[Strategy]) -> tuple[str, MainLoss]:
    found = [(strategy.name, loss) for strategy in strategies if (loss := strategy.main_loss()) is not None]
    if len(found) > 1:
        raise UsageError(f"strategies '{found[0][0]}' and '{found[1][0]}' exclude each other, both give the main loss")
    return found[0] if found else ("ce", F.cross_entropy)


def _product_of_weights(strategies: Sequence[Strategy], main: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for strategy in strategies:
        for name, factor in strategy.loss_weights().items():
            term = main if name == "ce" else name
            weights[term] = weights.get(term, 1.0) * factor
    return weights


CHECK_EVERY = 50
"""Steps between looks at the loss on a GPU, where every look waits for it."""


class Classifier(LightningModule):
    """Trains ``model`` (B, 3, H, W) -> (B, classes) with cross-entropy and whatever ``strategies`` change.

    ``evaluated`` names the weights that validation measures: ``raw``, and those that strategies add, such as ``ema``.
    ``row`` holds the figures of the epoch that just ended.
    """

    def __init__(
        self,
        model: nn.Module,
        strategies: list[Strategy],
        task: Task,
        optimizer: OptimizerConfig,
        seed: int,
        channels_last: bool = False,
        cpu_kernels: bool = False,
        compile_model: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last) if channels_last else model
        self.evaluated: dict[str, nn.Module] = {"raw": self.model}
        self.strategies, self.task, self.seed = strategies, task, seed
        self.optimizer_config, self.channels_last = optimizer, channels_last
        self.kernels = DepthwiseKernels(self.model) if cpu_kernels and not compile_model else None
        self.losses = LossLog()
        self.scores: dict[str, Scores] = {}
        self.row: dict[str, float] = {}
        self.companions = nn.ModuleDict({s.name: module for s in strategies if (module := s.companion()) is not None})
        self.step = TrainingStep(strategies, task)
        self.stages = self.step.stages
        self.rates = DropRates(self.model, task.strengths if len(self.stages) > 1 else {})
        # A dictionary keeps the compiled wrapper out of the state dict.
        self._forward: dict[str, Callable[[Tensor], Tensor]] = {
            "train": self._compiled() if compile_model else self.model
        }

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's randomness from (seed, epoch, rank) alone, so that a resumed run repeats it exactly."""
        epoch_seed = np.random.SeedSequence([self.seed, self.current_epoch, self.global_rank]).generate_state(1)[0]
        torch.manual_seed(int(epoch_seed))
        random.seed(int(epoch_seed))
        np.random.seed(int(epoch_seed))
        self.losses.reset()
        self.rates.set(self.stages.stage(self.current_epoch).strengths)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add what is best found out on the CPU, without waiting for a device."""
        if not self.trainer.training or not len(batch.targets):
            return batch
        return self.step.look_up(batch, self.current_epoch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor | None:
        """The loss of a batch; None for one that so many unreadable images have left that it cannot be trained on."""
        batch = batch._replace(images=self._laid_out(batch.images))
        total = self._loss(batch) if trains_on(self.model, batch.images) else self._nothing()
        alone_on_cpu = self.device.type == "cpu" and self.trainer.world_size == 1
        if alone_on_cpu or batch_index % CHECK_EVERY == 0:
            self.losses.check()
        return total if total is None else total * self._share(batch_index)

    def _loss(self, batch: Batch) -> Tensor:
        with self._fast():
            step = self.step.forward(self._forward["train"], batch, self.current_epoch)
        total, terms = self.step.loss(step)
        self.losses.update({"loss": total, **terms}, self.global_step)
        return total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        with self._fast():  # activations that were not kept are computed as they were
            super().backward(loss, *args, **kwargs)

    def _fast(self) -> AbstractContextManager[None]:
        return self.kernels.active() if self.kernels and self.device.type == "cpu" else nullcontext()

    def _nothing(self) -> Tensor | None:
        """A loss without a gradient, for the other processes wait for one; alone, none."""
        if self.trainer.world_size == 1:
            return None
        if any(isinstance(module, nn.SyncBatchNorm) for module in self.model.modules()):
            raise RunError(
                "no image of a batch could be read; with trainer.sync_batchnorm=true every process needs one"
            )
        return torch.stack([0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad]).sum()

    def _share(self, batch_index: int) -> float:
        """Lightning weighs batches as if every step had all it accumulates; at an epoch's end fewer may be left."""
        accumulated, batches = self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches)
        left = batches - batch_index // accumulated * accumulated
        return accumulated / min(accumulated, left)

    def on_validation_epoch_start(self) -> None:
        self.losses.check()
        average_statistics(self.evaluated.values())
        self.scores = {name: Scores(self.task.num_classes).to(self.device) for name in self.evaluated}
        for model in self.evaluated.values():
            model.eval()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        if not len(batch.targets):  # of more processes than images
            return
        images = self._laid_out(batch.images)
        for name, model in self.evaluated.items():
            self.scores[name].update(model(images), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Fill ``row``: the averaged weights are the method's result where there are any, the raw ones otherwise."""
        results = {name: scores.compute() for name, scores in self.scores.items()}
        chosen = results.get("ema", results["raw"])
        self.row = {**reduce_figures(self.losses.parts()), **chosen}
        self.row |= {f"top1_{name}": result["top1"] for name, result in results.items()}
        if len(self.stages) > 1:
            stage = self.stages.stage(self.current_epoch)
            self.row |= {"image_size": stage.image_size, **stage.strengths}
        if not np.isfinite(chosen["val_loss"]):
            raise RunError(f"the validation loss is not finite after step {self.global_step}")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = create_optimizer_v2(self.model, **self.optimizer_config.timm_options())
        if beside := list(self.companions.parameters()):
            optimizer.add_param_group({"params": beside, "weight_decay": self.optimizer_config.weight_decay})
        factors = [factor for s in self.strategies if (factor := s.lr_factor(self.task)) is not None]
        schedule = LambdaLR(optimizer, factors[0] if factors else lambda step: 1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the companions apart, so that ``state_dict`` holds the model's weights and nothing else.

        With which kernels the run has computed is kept too: going on with others would round in other ways.
        """
        if self.kernels and self.kernels.choices.taken:
            checkpoint["cpu_kernels"] = self.kernels.choices.state()
        weights = checkpoint["state_dict"]
        names = [name for name in weights if name.startswith("companions.")]
        if names:
            checkpoint["state_dict_companions"] = {name: weights.pop(name) for name in names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] |= checkpoint.pop("state_dict_companions", {})
        if self.kernels and "cpu_kernels" in checkpoint:
            self.kernels.choices.restore(checkpoint["cpu_kernels"])

    def _compiled(self) -> Callable[[Tensor], Tensor]:
        # Every stage has rates of its own and so a graph of its own; beyond the limit the rest would run uncompiled.
        config = torch.compiler.config
        config.recompile_limit = max(config.recompile_limit, 2 * len(self.stages) + 2)
        return torch.compile(self.model)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.to(memory_format=torch.channels_last) if self.channels_last else images


def as_classifier(module: LightningModule) -> Classifier:
    """The module that a callback was called with, by its type."""
    assert isinstance(module, Classifier)
    return module
