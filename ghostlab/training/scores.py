"""Accuracy and loss over a validation set."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

__all__ = ["Scores", "evaluate"]


class Scores(nn.Module):
    """Top-1 and top-5 accuracy in percent and mean cross-entropy, over all processes.

    With fewer than 5 classes, top-5 means any of them.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.top1 = MulticlassAccuracy(num_classes, top_k=1, average="micro", validate_args=False)
        self.top5 = MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro", validate_args=False)
        self.loss = MeanMetric(nan_strategy="disable")

    @torch.no_grad()
    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add logits (B, classes) and class indices (B,)."""
        logits = logits.float()
        self.top1.update(logits, targets)
        self.top5.update(logits, targets)
        self.loss.update(F.cross_entropy(logits, targets, reduction="none"))

    def compute(self) -> dict[str, float]:
        """``{"top1": percent, "top5": percent, "val_loss": nats}``."""
        return {
            "top1": 100 * self.top1.compute().item(),
            "top5": 100 * self.top5.compute().item(),
            "val_loss": self.loss.compute().item(),
        }


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: DataLoader[Any], num_classes: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """The scores of a model, moved to ``device`` and left in evaluation mode, over all batches of a loader."""
    model.to(device).eval()
    scores = Scores(num_classes).to(device)
    for batch in loader:
        if not len(batch.targets):  # nothing of it could be read
            continue
        scores.update(model(batch.images.to(device)), batch.targets.to(device))
    return scores.compute()
