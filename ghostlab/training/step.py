"""One training step, from a batch to its loss: the only place where what the joined strategies do comes together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.data import Batch
from ghostlab.errors import UsageError
from ghostlab.strategies.base import MainLoss, Step, Strategy, Task
from ghostlab.training.stages import Stages

__all__ = ["TrainingStep"]


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
