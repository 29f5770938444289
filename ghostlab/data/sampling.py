"""Which images come in which order, in how many processes: all of it a function of the seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from ghostlab.data.hashing import sample_seeds, shuffled

__all__ = ["EvalBatches", "TrainOrder", "rank_and_world"]


class TrainOrder(Sampler[tuple[int, int]]):
    """(index, seed) pairs in a new order each epoch.

    Of several processes each gets its share, all of the same length; together they see in each step the images that
    one process with the whole batch would see.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // rank_and_world()[1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = rank_and_world()
        order = shuffled(self.size, self.seed, self.epoch)[rank : len(self) * world : world]
        seeds = sample_seeds(order, self.seed, self.epoch)
        return zip(order.tolist(), seeds.tolist(), strict=True)


class EvalBatches(Sampler[list[tuple[int, int]]]):
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
