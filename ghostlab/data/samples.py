"""One sample and a batch of them: the randomness of a sample is a function of its seed alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ghostlab.data.sources import Source, UnreadableError

__all__ = ["Batch", "Sample", "Samples", "collate", "preserve_random_state", "seeded"]


class Sample(NamedTuple):
    """``numbers`` are target, index and seed; ``image`` is float32 (3, H, W), or None with ``unreadable`` =
    (path, reason)."""

    numbers: tuple[int, int, int]
    image: Tensor | None
    unreadable: tuple[str, str] | None = None


class Batch(NamedTuple):
    """``images`` float32 (B, 3, H, W); ``targets``, ``index`` (in the data set) and ``seed`` int64 (B,).

    ``unreadable`` holds (path, reason) of the images that should have been in the batch, too; the loaders of
    ``DataModule`` deal with them and hand out batches without. The trainer adds ``mixing_seed``, from which the batch
    is mixed, and what strategies have ``known`` of its images.
    """

    images: Tensor
    targets: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks a batch for
    seed: Tensor
    unreadable: tuple[tuple[str, str], ...] = ()
    mixing_seed: int = 0
    known: dict[str, Tensor] = {}  # noqa: RUF012 (a tuple's default; never changed in place)


class Samples(Dataset[Sample]):
    """A source and transforms, asked with (index, seed) for the first of them or (index, seed, number of a transform).

    What is drawn depends on the seed only. With ``keep`` every sample is made once and handed out again: for one
    transform that draws nothing.
    """

    def __init__(self, source: Source, *transforms: Callable[[Any], Tensor], keep: bool = False) -> None:
        self.source, self.transforms = source, transforms
        self._kept: dict[int, Sample] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.source.targets)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, ...]]) -> list[Sample]:
        """Samples of a whole batch, which is how a ``DataLoader`` asks."""
        with preserve_random_state():
            return [self._sample(*key) for key in keys]

    def _sample(self, index: int, seed: int, number: int = 0) -> Sample:
        if self._kept is None:
            return self._make(index, seed, number)
        if index not in self._kept:
            self._kept[index] = self._make(index, seed, number)
        return self._kept[index]

    def _make(self, index: int, seed: int, number: int) -> Sample:
        numbers = int(self.source.targets[index]), index, seed
        try:
            image = self.source.load(index)
        except UnreadableError as error:
            return Sample(numbers, None, (error.path, error.reason))
        _seed_all(seed)
        return Sample(numbers, self.transforms[number](image))


def collate(samples: Sequence[Sample]) -> Batch:
    """The readable samples as one batch, which has no image when there is none."""
    good = [(sample.image, sample.numbers) for sample in samples if sample.image is not None]
    images = torch.stack([image for image, _ in good]) if good else torch.empty(0, 3, 0, 0)
    numbers = torch.tensor([numbers for _, numbers in good], dtype=torch.int64).reshape(-1, 3).T.contiguous()
    unreadable = tuple(sample.unreadable for sample in samples if sample.unreadable is not None)
    return Batch(images, numbers[0], numbers[1], numbers[2], unreadable)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """The generators of ``random``, numpy and torch (CPU) go on afterwards as if nothing had been drawn."""
    python, legacy, default = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.default_generator.set_state(default)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it those generators are those of ``seed``; afterwards they go on as if nothing had been drawn."""
    with preserve_random_state():
        _seed_all(seed)
        yield


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every accelerator, too: 100 times slower
