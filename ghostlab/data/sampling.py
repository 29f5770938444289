"""Which images come in which order, in how many processes: all of it a function of the seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ghostlab.data.hashing import permutation, sample_seeds

__all__ = ["BatchKeys", "EvalBatchSampler", "ListSampler", "Replay", "TrainSampler", "fixed_batches", "rank_and_world"]

BatchKeys = list[tuple[int, int, int]]
"""(index, seed, view) of the images of a batch."""


@dataclass(frozen=True)
class Replay:
    """Images that were drawn before, with ``seed``, are drawn again: ``seeds(epoch, index)`` gives those of images.

    ``batch`` is the number of images that were mixed with each other and stay together, None where none were mixed.
    """

    seed: int
    seeds: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]
    batch: int | None = None


class TrainSampler(Sampler[tuple[int, int, int]]):
    """(index, seed, view) in a new order each epoch; ``view_of`` gives the number of an epoch's view.

    The view travels with the index, so that loading processes that were started long before know it as well.

    Of several processes each gets its share, all of the same length; together they see in each step the images that
    one process with the whole batch would see. What is replayed comes in an order of this run's own, too: of images or,
    where these were mixed, of whole batches.
    """

    def __init__(
        self, size: int, seed: int, replay: Replay | None = None, view_of: Callable[[int], int] = lambda epoch: 0
    ) -> None:
        self.size, self.seed, self.replay, self.view_of, self.epoch = size, seed, replay, view_of, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // rank_and_world()[1]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        if self.replay is None:
            order = self._images()
            seeds = sample_seeds(order, self.seed, self.epoch)
        else:
            order = self._batches(self.replay) if self.replay.batch else self._images()
            seeds = self.replay.seeds(self.epoch, order)
        view = self.view_of(self.epoch)
        return ((index, seed, view) for index, seed in zip(order.tolist(), seeds.tolist(), strict=True))

    def _images(self) -> NDArray[np.int64]:
        rank, world = rank_and_world()
        return permutation(self.size, self.seed, self.epoch)[rank : len(self) * world : world]

    def _batches(self, replay: Replay) -> NDArray[np.int64]:
        rank, world = rank_and_world()
        batch = replay.batch or 1
        steps = self.size // (batch * world)
        batches = fixed_batches(self.size, batch, replay.seed, self.epoch, world)[: steps * world]
        mine = np.stack(batches)[rank::world]
        return mine[permutation(steps, self.seed, self.epoch)].ravel()


class ListSampler(Sampler[BatchKeys]):
    """Batches of (index, seed, view) keys as a function lists them, for as often as they are asked for."""

    def __init__(self, batches: Callable[[], Iterator[BatchKeys]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[BatchKeys]:
        return self.batches()


def fixed_batches(size: int, batch: int, seed: int, epoch: int, world: int = 1) -> list[NDArray[np.int64]]:
    """The batches (``batch``,) of ``TrainSampler``: of every process at the first step, then at the second...

    At the end, in smaller ones, come the images that are left out of the epoch.
    """
    order = permutation(size, seed, epoch)
    whole = size // (batch * world) * batch * world
    steps = order[:whole].reshape(-1, batch, world).transpose(0, 2, 1).reshape(-1, batch)
    rest = order[whole:]
    return [*steps, *np.split(rest, range(batch, len(rest), batch))] if len(rest) else [*steps]


class EvalBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (index, 0) pairs in order, nothing twice.

    Every process gets the same number of batches, though not always of the same length, so that none waits for
    another one at the end.
    """

    def __init__(self, size: int, batch_size: int) -> None:
        self.size, self.batch_size = size, batch_size

    def __len__(self) -> int:
        world = rank_and_world()[1]
        return min(math.ceil(math.ceil(self.size / world) / self.batch_size), max(self.size // world, 1))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rank, world = rank_and_world()
        for part in np.array_split(np.arange(rank, self.size, world), len(self)):
            yield [(index, 0) for index in part.tolist()]


def rank_and_world() -> tuple[int, int]:
    """This process's number and the number of processes, (0, 1) when training is not distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
