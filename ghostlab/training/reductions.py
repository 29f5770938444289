"""How the figures of a run are made of those of its processes: the one place that says so.

Every process must ask at the same time, and gets the same answer. The scores of validation (``top1``, ``top5``,
``val_loss``) come from ``scores.Scores``, whose sums torchmetrics adds up over all images; what is the same by
construction is checked to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from ghostlab.data.sampling import rank_and_world
from ghostlab.private_apis import foreach_copy_

__all__ = ["LOSS_TERM", "REDUCTIONS", "Mean", "average_statistics", "gathered", "most", "reduced"]

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


def most(parts: Sequence[float | None]) -> float | None:
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
    "peak_memory_mb": most,  # of any one process
    "device": _listed,
    "skipped": _union,  # the same file may be met by several processes
}
"""By name of the figure, what is made of the values of all processes, in the order of their numbers."""


def gathered(value: T) -> list[T]:
    """The values of all processes, in the order of their numbers."""
    world = rank_and_world()[1]
    if world == 1:
        return [value]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, value)
    return found


def reduced(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the whole run, from those of this process, each by its entry in ``REDUCTIONS``.

    A figure without an entry is a ``KeyError``; one that only some processes have, such as the loss where every image
    was unreadable, is that of those.
    """
    every = gathered(dict(figures))
    names = dict.fromkeys(name for one in every for name in one)
    return {name: _made_of([one[name] for one in every if name in one], name) for name in names}


def _made_of(parts: Sequence[Any], name: str) -> Any:
    return REDUCTIONS[LOSS_TERM if isinstance(parts[0], Mean) else name](parts)


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
