"""The figures of an epoch: losses and accuracies, and how they are made of those of the processes of a run.

Every process must ask at the same time, and gets the same answer. The scores of validation (``top1``, ``top5``,
``val_loss``) come from ``Scores``, whose sums torchmetrics adds up over all images; what is the same by construction is
checked to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from ghostlab.data.sampling import rank_and_world
from ghostlab.errors import RunError
from ghostlab.private_apis import foreach_copy_

__all__ = [
    "LOSS_TERM",
    "REDUCTIONS",
    "LossLog",
    "Mean",
    "Scores",
    "average_statistics",
    "evaluate",
    "gather",
    "max_or_none",
    "reduce_figures",
]

T = TypeVar("T")


class Mean(NamedTuple):
    """The sum of ``number`` values."""

    total: float
    number: int


def _mean(parts: Sequence[Mean]) -> float:
    return sum(part.total for part in parts) / sum(part.number for part in parts)


def _same(parts: Sequence[T]) -> T:
    if any(part != parts[0] for part in parts):
        raise RuntimeError(f"the processes of a run disagree: {parts}")
    return parts[0]


def max_or_none(parts: Sequence[float | None]) -> float | None:
    """The largest; not known where one is not."""
    known = [part for part in parts if part is not None]
    return max(known) if len(known) == len(parts) else None


def _union(parts: Sequence[Iterable[str]]) -> list[str]:
    return sorted({name for part in parts for name in part})


def _listed(parts: Sequence[str]) -> str:
    """``2 x NVIDIA A100``."""
    return " + ".join(name if n == 1 else f"{n} x {name}" for name, n in Counter(parts).items())


LOSS_TERM = "loss term"
"""Stands for every term of the training loss, and for their sum ``loss``."""

REDUCTIONS: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    LOSS_TERM: _mean,  # over the batches of all processes
    "lr": _same,
    "images_per_second": sum,
    "seconds": max,
    "peak_memory_mb": max_or_none,  # of any one process
    "device": _listed,
    "skipped": _union,  # the same file may be met by several processes
}
"""By name of the figure, what is made of the values of all processes, in the order of their numbers."""


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their numbers."""
    world = rank_and_world()[1]
    if world == 1:
        return [value]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, value)
    return found


def reduce_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the whole run, from those of this process, each by its entry in ``REDUCTIONS``.

    A figure without an entry is a ``KeyError``; one that only some processes have, such as the loss where every image
    was unreadable, is that of those.
    """
    every = gather(dict(figures))
    names = dict.fromkeys(name for one in every for name in one)
    parts = {name: [one[name] for one in every if name in one] for name in names}
    return {name: REDUCTIONS[LOSS_TERM if isinstance(of[0], Mean) else name](of) for name, of in parts.items()}


@torch.no_grad()
def average_statistics(models: Iterable[nn.Module]) -> None:
    """Let the running statistics of batch norms be the means of those of all processes, which saw other batches.

    Their counts of batches become the largest, as a batch of unreadable images is left out. The weights of all
    processes are the same at any time; these are not, and only those of one process are saved.
    """
    world = rank_and_world()[1]
    if world == 1:
        return
    buffers = [named for model in models for named in model.named_buffers()]
    statistics = [buffer for name, buffer in buffers if name.rpartition(".")[2].startswith("running_")]
    counts = [buffer for name, buffer in buffers if name.endswith("num_batches_tracked")]
    for tensors, of_all, number in ((statistics, dist.ReduceOp.SUM, world), (counts, dist.ReduceOp.MAX, 1)):
        if tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat, of_all)
            parts = (flat / number).split([tensor.numel() for tensor in tensors])
            foreach_copy_(tensors, [part.view_as(like) for part, like in zip(parts, tensors, strict=True)])


NEVER = 2**62


class LossLog:
    """Accumulates named scalar terms on their device.

    On a GPU ``check`` and ``means`` wait for it, and with several processes ``check`` waits for these, so they are
    called now and then, not at every step.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._sums: Tensor | None = None
        self._first_bad: Tensor | None = None
        self._count = 0

    def update(self, terms: dict[str, Tensor], step: int) -> None:
        """Add the scalar terms of one step; ``step`` is what an error would name."""
        values = torch.stack([value.detach().float() for value in terms.values()])
        bad_at = torch.where(values.isfinite(), NEVER, step)
        if self._sums is None or self._first_bad is None:
            self.names, self._sums, self._first_bad = list(terms), values, bad_at
        else:
            self._sums += values
            self._first_bad = torch.minimum(self._first_bad, bad_at)
        self._count += 1

    def check(self) -> None:
        """Raise ``RunError`` naming the first step and term that was NaN or infinite, in any process and so in all."""
        if found := [bad for bad in gather(self._bad()) if bad]:
            step, terms = min(found)
            raise RunError(
                f"loss term '{terms}' is not finite at step {step}; checkpoints of earlier epochs are kept"
                " (a smaller optimizer.lr or a trainer.clip often helps)"
            )

    def means(self) -> dict[str, float]:
        """The mean of every term since the last reset, in this process."""
        return {name: mean.total / mean.number for name, mean in self.parts().items()}

    def parts(self) -> dict[str, Mean]:
        """What ``means`` is made of, to be reduced over processes."""
        if self._sums is None:
            return {}
        return {name: Mean(total, self._count) for name, total in zip(self.names, self._sums.tolist(), strict=True)}

    def reset(self) -> None:
        """Forget everything; the next update starts a new mean."""
        self._sums = self._first_bad = None
        self._count = 0

    def _bad(self) -> tuple[int, str] | None:
        """The first step with terms that were not finite, and their names."""
        steps = [] if self._first_bad is None else self._first_bad.tolist()
        first = min(steps, default=NEVER)
        names = [name for name, step in zip(self.names, steps, strict=False) if step == first]
        return (first, ", ".join(names)) if first < NEVER else None


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
