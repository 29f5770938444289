"""What a file answers in its runtime, beside what PyTorch answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ghostlab.data import DataModule
from ghostlab.deploy.network import Network
from ghostlab.deploy.run_data import data_module
from ghostlab.errors import GhostlabError
from ghostlab.terminal import tracked

__all__ = ["TOLERANCE", "Reference", "RuntimeComparison", "validation_data"]

TOLERANCE = 1e-3
"""Largest difference allowed between the answers of two runtimes in float32, relative to the largest answer."""


@dataclass(frozen=True)
class RuntimeComparison:
    """What one runtime answers against another."""

    difference: float
    """The largest of a logit, relative to the largest logit of all."""
    same_class: float
    """Percent of the images that both give to the same class."""
    top1: float | None
    """In percent on ``images`` validation images; None without any."""
    images: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is one of rounding; that with a NaN in it is not."""
        return self.difference <= TOLERANCE


@dataclass
class Reference:
    """PyTorch's answers about the validation images, or about random ones where there is no data, asked once."""

    network: Network
    data: DataModule | None
    logits: Tensor = field(init=False)
    targets: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        self.logits, self.targets = self._answers(self.network.model, "PyTorch")

    @property
    def top1(self) -> float | None:
        """In percent; None where there is no data."""
        return self._top1(self.logits)

    def compare(self, runner: nn.Module, name: str) -> RuntimeComparison:
        """Ask ``runner``, images (B, 3, H, W) -> logits (B, classes), about the same images."""
        logits, _ = self._answers(runner, name)
        difference = (logits - self.logits).abs().max() / self.logits.abs().max()
        images = 0 if self.targets is None else len(self.targets)
        same_class = _percent(logits.argmax(1) == self.logits.argmax(1))
        return RuntimeComparison(difference.item(), same_class, self._top1(logits), images)

    def _top1(self, logits: Tensor) -> float | None:
        return None if self.targets is None else _percent(logits.argmax(1) == self.targets)

    @torch.inference_mode()
    def _answers(self, model: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
        if self.data is None:
            return model(self.network.example).float(), None
        answers = [(model(images).float(), targets) for images, targets in _batches(self.data, name)]
        logits, targets = zip(*answers, strict=True)
        return torch.cat(logits), torch.cat(targets)


def validation_data(network: Network) -> tuple[DataModule | None, str]:
    """The network's data, ready to be read, or None and the reason."""
    if network.data is None:
        return None, "the file does not say on which data"
    try:
        data = data_module(network.data, network.run)
        data.setup()
    except GhostlabError as error:
        return None, str(error)
    return data, ""


def _percent(hits: Tensor) -> float:
    return 100 * int(hits.sum()) / len(hits)


def _batches(data: DataModule, name: str) -> Iterator[tuple[Tensor, Tensor]]:
    loader = data.val_dataloader()
    for batch in tracked(loader, f"{name} on the validation set", len(loader)):
        if len(batch.targets):  # none where nothing of it could be read
            yield batch.images, batch.targets
