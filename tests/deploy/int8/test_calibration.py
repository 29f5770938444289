"""Which training images are looked at, and how."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ghostlab.data import DataConfig, DataModule
from ghostlab.deploy.int8.quantize import BATCH, balanced_indices, calibration_images
from ghostlab.errors import UsageError


@pytest.fixture(scope="module")
def digits() -> DataModule:
    data = DataModule(DataConfig("digits", image_size=16), seed=0)
    data.setup()
    return data


def test_the_images_are_always_the_same_and_as_many_as_asked_for(digits: DataModule) -> None:
    first, again = (torch.cat(calibration_images(digits, 40)) for _ in range(2))
    assert len(first) == 40
    assert torch.equal(first, again)


def test_they_come_in_batches(digits: DataModule) -> None:
    assert [len(batch) for batch in calibration_images(digits, 2 * BATCH + 3)] == [BATCH, BATCH, 3]


def test_they_are_training_images_seen_as_validation_images_are(digits: DataModule) -> None:
    from ghostlab.data.transforms import eval_transform

    index = balanced_indices(digits.train_source.targets, 1)[0]
    seen = calibration_images(digits, 1)[0][0]
    assert torch.equal(seen, eval_transform(digits.cfg)(digits.train_source.load(index)))


def test_all_are_taken_where_there_are_fewer(digits: DataModule) -> None:
    assert len(balanced_indices(digits.train_source.targets, 10**6)) == digits.train_size


def test_every_class_has_as_many_as_it_can() -> None:
    targets = np.array([0] * 50 + [1] * 50 + [2] * 3)
    chosen = balanced_indices(targets, 23)
    assert np.bincount(targets[chosen]).tolist() == [10, 10, 3]
    assert len(set(chosen)) == 23


@pytest.mark.parametrize("count", [0, -1])
def test_no_image_is_too_few(digits: DataModule, count: int) -> None:
    with pytest.raises(UsageError, match="--calibration="):
        calibration_images(digits, count)
