from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.testing import assert_array_equal

from ghostlab.data.hashing import hash_indices, permutation, sample_seeds


def test_without_a_key_it_is_the_published_splitmix64_stream_of_seed_0() -> None:
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert hash_indices(np.arange(1, 5)).tolist() == published


def test_a_part_of_the_indices_gets_the_same_bits_as_all_of_them() -> None:
    everything = hash_indices(np.arange(1000), 3, 7)
    some = np.array([999, 0, 500])
    assert_array_equal(hash_indices(some, 3, 7), everything[some])


def test_seeds_are_32_bit_and_differ_by_seed_epoch_and_index() -> None:
    seeds = [sample_seeds(np.arange(2000), seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    values = np.concatenate(seeds)
    assert values.min() >= 0
    assert values.max() < 2**32
    # of 18,000 draws out of 2^32 about 0.04 pairs are equal by chance
    assert len(np.unique(values)) >= len(values) - 2


def test_every_bit_of_the_seeds_is_set_half_of_the_time() -> None:
    seeds = sample_seeds(np.arange(10_000), seed=0, epoch=0)
    shares = [((seeds >> bit) & 1).mean() for bit in range(32)]
    assert max(abs(share - 0.5) for share in shares) < 0.03  # six standard deviations


def test_negative_and_huge_keys_are_allowed() -> None:
    assert sample_seeds(np.arange(3), -1, 2**70).tolist() != sample_seeds(np.arange(3), 1, 2**70).tolist()


def test_shuffled_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    orders = [permutation(500, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert sorted(order.tolist()) == list(range(500))
    fixed_points = [(a == b).sum() for a, b in pairwise(orders)]
    assert max(fixed_points) < 10  # one is expected of two independent permutations


def test_the_order_does_not_sort_the_samples_by_their_seeds() -> None:
    order = permutation(1000, seed=0, epoch=0)
    steps = np.diff(sample_seeds(order, seed=0, epoch=0))
    assert 400 < (steps > 0).sum() < 600
