"""What a run was trained on: written, read again, and compared with what is there later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest import param

from ghostlab.data.manifest import Manifest, SplitHashes, describe_changes


def half(*images: tuple[int, int]) -> SplitHashes:
    """Of pairs of a hash and a class."""
    hashes, targets = zip(*images, strict=True) if images else ((), ())
    return SplitHashes(np.array(hashes, np.uint64), np.array(targets, np.int64))


BEFORE = Manifest(("cat", "dog"), half((1, 0), (2, 0), (3, 1)), half((4, 0), (5, 1)))


@pytest.mark.parametrize(
    ("now", "told"),
    [
        param(BEFORE, "", id="nothing"),
        param(
            Manifest(BEFORE.class_names, half((1, 0), (2, 0), (6, 0), (3, 1)), BEFORE.val),
            "1 of 4 training images new",
            id="grown",
        ),
        param(
            Manifest(BEFORE.class_names, half((1, 0), (7, 0), (3, 1)), BEFORE.val),
            "1 of 3 training images new, 1 of 3 training images gone",
            id="replaced",
        ),
        param(
            Manifest(BEFORE.class_names, BEFORE.train, half((4, 0))),
            "1 of 2 validation images gone",
            id="fewer-to-validate",
        ),
        param(
            Manifest(("ant", "cat"), half((3, 0), (1, 1), (2, 1)), half((5, 0), (4, 1))),
            "class 'ant' new, class 'dog' gone, 2 images in another class",
            id="a-class-renamed",
        ),
        param(
            Manifest(("dog", "cat"), half((1, 1), (2, 1), (3, 0)), half((4, 1), (5, 0))),
            "the classes in another order",
            id="classes-reordered",
        ),
        param(
            Manifest(("cat", "dog", "emu"), half((1, 0), (2, 0), (3, 1), (8, 2)), half((4, 0), (5, 1), (9, 2))),
            "class 'emu' new, 1 of 4 training images new, 1 of 3 validation images new",
            id="a-class-more",
        ),
        param(
            Manifest(BEFORE.class_names, half((1, 0), (5, 1), (3, 1)), half((4, 0), (2, 0))),
            "1 images moved from training to validation, 1 images moved from validation to training",
            id="moved",
        ),
        param(
            Manifest(BEFORE.class_names, half((2, 0), (1, 0), (3, 1)), BEFORE.val),
            "the images in another order",
            id="another-order",
        ),
    ],
)
def test_what_changed_is_told_in_one_line(now: Manifest, told: str) -> None:
    assert describe_changes(BEFORE, now) == told
    assert (now.digest == BEFORE.digest) == (told == "")


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = Manifest(("a b", "c\udcff"), BEFORE.train, BEFORE.val, np.array([7], np.uint64))
    kept.write(tmp_path)
    read = Manifest.read(tmp_path)
    assert read is not None
    assert (read.digest, read.class_names, read.seen.tolist()) == (kept.digest, kept.class_names, [7])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_one_is_none(tmp_path: Path, content: bytes) -> None:
    assert Manifest.read(tmp_path) is None
    (tmp_path / "images.npz").write_bytes(content)
    assert Manifest.read(tmp_path) is None
    np.savez(tmp_path / "images.npz", class_names=np.array([object()], object))
    assert Manifest.read(tmp_path) is None
