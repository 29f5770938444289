"""RandAugment, AutoAugment and random erasing of training images."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import param
from timm.data.auto_augment import auto_augment_transform, rand_augment_transform

from ghostlab.strategies.autoaugment import POLICIES, AutoAugment, auto_augment
from ghostlab.strategies.erasing import Erasing, random_erasing
from ghostlab.strategies.randaugment import RandAugment, operation_options, rand_augment
from ghostlab.testing.settings import TASK

MEAN = (0.5, 0.4, 0.3)
TIMM = {"translate_const": 14, "img_mean": (128, 102, 76)}


def photo(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (32, 32, 3), dtype=np.uint8))


def series(transform: Callable[[Any], Any], count: int = 40) -> np.ndarray:
    """What a transform makes of one image, drawn ``count`` times from the same seed."""
    random.seed(1)
    np.random.seed(1)
    return np.stack([np.asarray(transform(photo())) for _ in range(count)])


def test_timms_operations_are_told_size_and_colour() -> None:
    assert operation_options(32, MEAN, 0.5) == {**TIMM, "magnitude_std": 0.5}


def test_the_defaults_are_timms_rand_m9_mstd_05() -> None:
    [ours] = RandAugment().image_transforms(TASK)
    theirs = rand_augment_transform("rand-m9-n2-mstd0.5", {"translate_const": 7, "img_mean": (128, 102, 76)})
    assert np.array_equal(series(ours), series(theirs))


def test_more_layers_change_more_images() -> None:
    def changed(layers: int) -> int:
        images = series(rand_augment(9, layers, 0.5, 32, MEAN))
        return sum(not np.array_equal(image, np.asarray(photo())) for image in images)

    assert changed(1) < changed(4)


def test_strengths_above_10_are_stronger() -> None:
    assert not np.array_equal(series(rand_augment(10, 2, 0, 32, MEAN)), series(rand_augment(20, 2, 0, 32, MEAN)))


@pytest.mark.parametrize("magnitude", [0, 2, 10, 30])
def test_no_strength_is_an_error_or_a_black_image(magnitude: float) -> None:
    images = series(rand_augment(magnitude, 4, 0.5, 32, MEAN), 200)
    assert images.reshape(200, -1).any(1).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_autoaugment_has_timms_policies_without_black_images(policy: str) -> None:
    ours = auto_augment(policy, 0.5, 32, MEAN)
    assert repr(ours) == repr(auto_augment_transform(f"{policy}-mstd0.5", dict(TIMM)))
    assert series(ours, 200).reshape(200, -1).any(1).all()


def test_the_default_policy_is_the_papers_without_noise() -> None:
    [ours] = AutoAugment().image_transforms(TASK)
    same = auto_augment_transform("original", {"translate_const": 7, "img_mean": (128, 102, 76)})
    assert np.array_equal(series(ours), series(same))


@pytest.mark.parametrize(
    ("mode", "colours"),
    [param("const", 1, id="mean-colour"), param("rand", 1, id="one-colour"), param("pixel", None, id="noise")],
)
def test_erasing_overwrites_one_rectangle(mode: str, colours: int | None) -> None:
    random.seed(0)
    torch.manual_seed(0)
    transform = random_erasing(1.0, mode)
    for _ in range(20):
        image = transform(torch.full((3, 32, 32), 7.0))
        erased = (image != 7.0).all(0)
        rows, columns = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert erased.sum() == height * width
        assert 0.01 < height * width / 32**2 < 0.36
        assert len(image[:, erased].unique(dim=1).T) == (colours or height * width)


def test_erasing_chooses_its_share_of_the_images() -> None:
    random.seed(0)
    [transform] = Erasing().tensor_transforms(TASK)
    erased = sum(bool((transform(torch.zeros(3, 16, 16)) != 0).any()) for _ in range(1000))
    assert 160 < erased < 240
