from __future__ import annotations

import numpy as np
import pytest
from pytest import param

from ghostlab.data.split import split_fraction, split_per_class

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
