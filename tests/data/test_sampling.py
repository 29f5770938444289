from __future__ import annotations

import math

import numpy as np
import pytest
from pytest import MonkeyPatch, param

from ghostlab.data import sampling
from ghostlab.data.hashing import sample_seeds
from ghostlab.data.sampling import EvalBatchSampler, ListSampler, Replay, TrainSampler, fixed_batches


def pretend(monkeypatch: MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setattr(sampling.dist, "is_initialized", lambda: world > 1)
    monkeypatch.setattr(sampling.dist, "get_rank", lambda: rank)
    monkeypatch.setattr(sampling.dist, "get_world_size", lambda: world)


def test_an_epoch_is_every_index_once_and_can_be_repeated() -> None:
    order = TrainSampler(100, seed=0)
    first = list(order)
    assert sorted(index for index, *_ in first) == list(range(100))
    assert list(order) == first


def test_epochs_and_runs_differ_in_order_and_in_the_seed_of_a_sample() -> None:
    order, other = TrainSampler(100, seed=0), TrainSampler(100, seed=1)
    first, another_run = list(order), list(other)
    order.set_epoch(1)
    for keys in (list(order), another_run):
        assert [index for index, *_ in keys] != [index for index, *_ in first]
        assert not set(keys) & set(first)


def test_jumping_to_an_epoch_is_the_same_as_getting_there() -> None:
    walked, jumped = TrainSampler(50, seed=3), TrainSampler(50, seed=3)
    for epoch in range(6):
        walked.set_epoch(epoch)
        last = list(walked)
    jumped.set_epoch(5)
    assert list(jumped) == last


def test_an_epoch_has_its_view() -> None:
    order = TrainSampler(5, seed=0, view_of=lambda epoch: epoch // 2)
    for epoch in range(4):
        order.set_epoch(epoch)
        assert {view for *_, view in order} == {epoch // 2}


@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_an_epoch_in_equal_parts_step_by_step(monkeypatch: MonkeyPatch, world: int) -> None:
    whole = list(TrainSampler(100, seed=0))
    shares = []
    for rank in range(world):
        pretend(monkeypatch, rank, world)
        order = TrainSampler(100, seed=0)
        shares.append(list(order))
        assert len(shares[-1]) == len(order) == 100 // world
    together = [pair for step in zip(*shares, strict=True) for pair in step]
    assert together == whole[: len(together)]


@pytest.mark.parametrize(
    ("size", "batch", "world"),
    [
        param(10, 4, 1, id="one-process"),
        param(8, 4, 1, id="no-remainder"),
        param(3, 256, 1, id="less-than-a-batch"),
        param(9, 4, 2, id="second-process-would-have-fewer-batches"),
        param(101, 7, 4, id="four"),
        param(9, 1, 8, id="single-images"),
    ],
)
def test_validation_sees_everything_once_in_equally_many_batches(
    monkeypatch: MonkeyPatch, size: int, batch: int, world: int
) -> None:
    seen, lengths = [], []
    for rank in range(world):
        pretend(monkeypatch, rank, world)
        sampler = EvalBatchSampler(size, batch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(batches)
        seen += [pair for one in batches for pair in one]
        lengths.append([len(one) for one in batches])
    assert sorted(seen) == [(index, 0) for index in range(size)]
    assert len({len(one) for one in lengths}) == 1
    if batch > 1:
        assert np.max([max(one) for one in lengths]) <= batch
        assert len(lengths[0]) == math.ceil(math.ceil(size / world) / batch)


def replay(batch: int | None) -> Replay:
    return Replay(seed=7, seeds=lambda epoch, index: sample_seeds(index, 7, epoch), batch=batch)


def in_batches(order: TrainSampler, batch: int) -> list[list[tuple[int, int, int]]]:
    keys = list(order)
    return [keys[start : start + batch] for start in range(0, len(keys) - batch + 1, batch)]


def test_replayed_images_have_the_seeds_of_then_in_an_order_of_now() -> None:
    here, there = TrainSampler(50, seed=1, replay=replay(None)), TrainSampler(50, seed=7)
    for epoch in range(3):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        assert sorted(here) == sorted(there)
        assert list(here) != list(there)
        assert [index for index, *_ in here] == [index for index, *_ in _at(TrainSampler(50, seed=1), epoch)]


def _at(order: TrainSampler, epoch: int) -> TrainSampler:
    order.set_epoch(epoch)
    return order


@pytest.mark.parametrize("world", [1, 3])
def test_replayed_batches_stay_together_in_an_order_of_now(monkeypatch: MonkeyPatch, world: int) -> None:
    batch, size = 4, 50
    for rank in range(world):
        pretend(monkeypatch, rank, world)
        here = in_batches(_at(TrainSampler(size, seed=1, replay=replay(batch)), 2), batch)
        there = in_batches(_at(TrainSampler(size, seed=7), 2), batch)
        assert sorted(here) == sorted(there)
        assert here != there
        assert len(here) == size // (batch * world)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("size", [48, 50, 59])
def test_fixed_batches_are_those_of_all_processes_and_then_the_rest(
    monkeypatch: MonkeyPatch, world: int, size: int
) -> None:
    batch, expected = 4, []
    for rank in range(world):
        pretend(monkeypatch, rank, world)
        expected.append([[index for index, *_ in one] for one in in_batches(_at(TrainSampler(size, seed=7), 5), batch)])
    found = [one.tolist() for one in fixed_batches(size, batch, 7, 5, world)]
    steps = size // (batch * world)
    assert found[: steps * world] == [
        one for step in zip(*(own[:steps] for own in expected), strict=True) for one in step
    ]
    assert sorted(index for one in found for index in one) == list(range(size))
    assert max(map(len, found)) == batch


def test_listed_batches_come_as_they_are_listed_every_time() -> None:
    listed = ListSampler(lambda: iter([[(0, 1), (2, 3)], [(4, 5)]]))
    assert list(listed) == list(listed) == [[(0, 1), (2, 3)], [(4, 5)]]
