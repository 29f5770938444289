"""One step of the last stage before the first: a lack of memory shows in the first minute and not in the last hours."""

from __future__ import annotations

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ghostlab.data import Batch
from ghostlab.errors import RunError, lacks_memory
from ghostlab.training.classifier import Classifier, as_classifier

__all__ = ["Rehearsal"]


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
