from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from ghostlab.data.config import DATASETS, DataConfig
from ghostlab.data.datasets import BUILDERS, build

DIGITS = DataConfig("digits", val_fraction=0.2, split_seed=0)


def test_every_name_that_a_configuration_may_have_is_built() -> None:
    assert [*BUILDERS] == [*DATASETS]


def test_digits_are_split_into_1437_and_360_class_by_class() -> None:
    train, val = build(DIGITS)
    assert (len(train.targets), len(val.targets)) == (1437, 360)
    assert train.class_names == list("0123456789")
    assert set(np.bincount(val.targets).tolist()) <= {35, 36, 37}


def test_digits_are_all_there_once_with_their_labels() -> None:
    def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        return sorted(bytes([label, *image.ravel()]) for image, label in zip(images, labels, strict=True))

    raw = load_digits()
    halves = build(DIGITS)
    pixels = np.stack([np.asarray(half.load(i))[..., 0] for half in halves for i in range(len(half.targets))])
    labels = np.concatenate([half.targets for half in halves])
    assert pixels.max() == 255  # white is 16 in scikit-learn's arrays
    assert rows(np.rint(pixels / 255 * 16).astype(int), labels) == rows(raw.images.astype(int), raw.target)


def test_digits_split_with_the_seed_of_the_split() -> None:
    again, other = (build(DataConfig("digits", val_fraction=0.2, split_seed=seed))[1] for seed in (0, 1))
    first = build(DIGITS)[1]
    assert np.array_equal(first.pixels, again.pixels)  # type: ignore[attr-defined]
    assert not np.array_equal(first.pixels, other.pixels)  # type: ignore[attr-defined]
