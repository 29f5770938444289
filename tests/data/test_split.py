from __future__ import annotations

import numpy as np
import pytest
from pytest import param

from ghostlab.data.split import distinct_counts, split_content, split_fraction, split_per_class

TARGETS = np.repeat([0, 1, 2], [10, 25, 65])


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        param(0.2, [2, 5, 13], id="exact"),
        param(0.25, [3, 6, 16], id="ties-to-the-first"),  # quotas 2.5, 6.25, 16.25 of 25 images
        param(0.01, [1, 1, 1], id="one-each-at-least"),
        param(0.99, [9, 24, 64], id="one-left-at-least"),
    ],
)
def test_split_fraction_takes_this_many_of_each_class(fraction: float, expected: list[int]) -> None:
    train, val = split_fraction(TARGETS, fraction, seed=0)
    assert np.bincount(TARGETS[val]).tolist() == expected
    assert sorted([*train, *val]) == list(range(100))


def test_split_per_class_trains_on_the_count_and_leaves_one_of_small_classes() -> None:
    train, val = split_per_class(TARGETS, 20, seed=0)
    assert np.bincount(TARGETS[train]).tolist() == [9, 20, 20]
    assert sorted([*train, *val]) == list(range(100))


def test_the_seed_chooses_the_images() -> None:
    first, again, other = (split_fraction(TARGETS, 0.5, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again
    assert 20 < len(set(first) & set(other)) < 32  # 25 are expected


def test_the_choice_is_not_the_first_or_last_images() -> None:
    val = split_fraction(np.zeros(1000, dtype=int), 0.5, seed=0)[1]
    assert 200 < (val < 500).sum() < 300


def hashes(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, size, np.uint64)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.8])
def test_contents_fall_into_val_with_the_fraction_in_every_class(fraction: float) -> None:
    targets = np.repeat([0, 1], [20000, 10000])
    train, val = split_content(hashes(30000), targets, fraction, seed=3)
    assert np.bincount(targets[val]) / [20000, 10000] == pytest.approx([fraction] * 2, abs=0.015)
    assert sorted([*train, *val]) == list(range(30000))


@pytest.mark.parametrize("count", [2, 3, 5, 40])
@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.95])
def test_no_class_is_without_images_on_either_side(count: int, fraction: float) -> None:
    targets = np.tile(np.arange(50), count)
    train, val = split_content(hashes(50 * count), targets, fraction, seed=0)
    assert set(targets[train]) == set(targets[val]) == set(range(50))


def test_images_that_are_added_take_none_from_train_to_val() -> None:
    targets, contents = np.tile(np.arange(20), 30), hashes(600)
    before = set(contents[split_content(contents[:100], targets[:100], 0.2, seed=0)[0]])
    for size in range(120, 600, 20):
        train, _ = split_content(contents[:size], targets[:size], 0.2, seed=0)
        assert before <= set(contents[train])
        before = set(contents[train])


def test_another_seed_is_another_split_and_copies_stay_together() -> None:
    contents = np.tile(hashes(500), 2)
    one, other = (split_content(contents, np.zeros(1000, int), 0.5, seed)[1] for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert np.bincount(np.unique(contents[one], return_counts=True)[1]).argmax() == 2
    assert not set(contents[one]) & set(np.delete(contents, one))


def test_contents_are_counted_once_in_each_class() -> None:
    assert distinct_counts(np.array([5, 5, 7, 5], np.uint64), np.array([0, 0, 0, 1])).tolist() == [2, 1]
