"""Images are known again by a digest, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ghostlab.data.content import digest
from ghostlab.data.folder import scan_class_folders
from ghostlab.data.sources import MemorySource
from tests.data.conftest import MakeFolder

PIXELS, TARGETS = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2), np.array([0, 1, 0, 1])


def test_images_in_memory_are_known_by_pixels_and_classes() -> None:
    first = digest(MemorySource(PIXELS, TARGETS, ["a", "b"]))
    assert len(first) == 16
    assert digest(MemorySource(PIXELS.copy(), TARGETS.copy(), ["a", "b"])) == first
    others = [
        MemorySource(PIXELS + 1, TARGETS, ["a", "b"]),
        MemorySource(PIXELS[::-1], TARGETS, ["a", "b"]),
        MemorySource(PIXELS, 1 - TARGETS, ["a", "b"]),
        MemorySource(PIXELS, TARGETS, ["b", "a"]),
    ]
    assert len({first, *map(digest, others)}) == 5


def test_files_are_known_by_their_content_in_any_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cat": 3, "dog": 2})
    first = digest(scan_class_folders(root, "data.root"))
    shutil.move(root, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert digest(scan_class_folders(moved, "data.root")) == first
    (moved / "dog" / "1.png").rename(moved / "dog" / "2.png")
    assert digest(scan_class_folders(moved, "data.root")) == first
    content = (moved / "dog" / "2.png").read_bytes()
    (moved / "dog" / "2.png").write_bytes(content[:-1] + b"0")  # of the same size
    changed = digest(scan_class_folders(moved, "data.root"))
    (moved / "dog" / "2.png").rename(moved / "cat" / "3.png")
    assert len({first, changed, digest(scan_class_folders(moved, "data.root"))}) == 3
