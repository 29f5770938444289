from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ghostlab.data.samples import Batch, Samples, collate, preserve_random_state, seeded
from ghostlab.data.sources import MemorySource, UnreadableError

TARGETS = np.array([4, 0, 2])


class Broken(MemorySource):
    """Its second image cannot be read."""

    def load(self, index: int) -> Image.Image:
        if index == 1:
            raise UnreadableError("b.jpg", "truncated")
        return super().load(index)


def source(cls: type[MemorySource] = MemorySource) -> MemorySource:
    return cls(np.zeros((3, 2, 2, 3), np.uint8), TARGETS, list("abcde"))


def draws(_: Any) -> Tensor:
    """One number of each library that transforms may draw from."""
    return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()]).view(3, 1, 1)


def states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]


def test_what_a_sample_draws_depends_on_its_seed_alone() -> None:
    samples = Samples(source(), draws)
    together = samples.__getitems__([(0, 11), (2, 12), (1, 11)])
    torch.manual_seed(99)
    alone = samples[2, 12]
    assert torch.equal(together[1].image, alone.image)  # type: ignore[arg-type]
    assert torch.equal(together[0].image, together[2].image)  # type: ignore[arg-type]
    assert (together[0].image != together[1].image).all()


def test_the_global_generators_go_on_as_if_nothing_had_been_drawn() -> None:
    before = states()
    Samples(source(), draws).__getitems__([(0, 1), (1, 2)])
    assert states() == before


def test_a_seed_gives_the_same_draws_and_leaves_the_generators_as_they_were() -> None:
    before = states()
    with seeded(11):
        first = draws(None)
    with seeded(11):
        assert torch.equal(draws(None), first)
    assert states() == before
    assert torch.equal(Samples(source(), draws)[0, 11].image, first)  # type: ignore[arg-type]


def test_the_state_is_restored_after_an_error() -> None:
    before = states()
    try:
        with preserve_random_state():
            draws(None)
            raise KeyError
    except KeyError:
        pass
    assert states() == before


def test_a_batch_has_the_types_and_shapes_that_it_promises() -> None:
    batch = collate(Samples(source(), draws).__getitems__([(2, 7), (0, 2**32 - 1)]))
    assert isinstance(batch, Batch)
    assert (batch.images.shape, batch.images.dtype) == ((2, 3, 1, 1), torch.float32)
    assert [column.dtype for column in batch[1:4]] == [torch.int64] * 3
    assert batch.targets.tolist() == [2, 4]
    assert batch.index.tolist() == [2, 0]
    assert batch.seed.tolist() == [7, 2**32 - 1]
    assert batch.unreadable == ()


def test_an_unreadable_image_is_marked_and_left_out_of_all_columns() -> None:
    batch = collate(Samples(source(Broken), draws).__getitems__([(0, 5), (1, 6), (2, 7)]))
    assert batch.unreadable == (("b.jpg", "truncated"),)
    assert (len(batch.images), batch.index.tolist(), batch.seed.tolist()) == (2, [0, 2], [5, 7])


def test_a_batch_of_unreadable_images_is_empty() -> None:
    batch = collate(Samples(source(Broken), draws).__getitems__([(1, 6)]))
    assert [len(column) for column in batch[:5]] == [0, 0, 0, 0, 1]


def test_kept_samples_are_made_once() -> None:
    made = []
    samples = Samples(source(), lambda image: made.append(image) or torch.zeros(3, 1, 1), keep=True)
    first, second = samples[1, 0], samples[1, 0]
    assert first.image is second.image
    assert len(made) == 1


def test_samples_travel_to_workers_that_are_not_forked() -> None:
    copy = pickle.loads(pickle.dumps(Samples(source(), draws)))
    assert torch.equal(copy[0, 3].image, Samples(source(), draws)[0, 3].image)  # type: ignore[arg-type]
