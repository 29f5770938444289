"""Folders of small images, made on the fly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[[Mapping[str, int]], Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """``make_folder({"train/cat": 3, "val/cat": 1})`` writes so many noisy 20 x 24 images and returns the root."""

    def make(counts: Mapping[str, int]) -> Path:
        noise = np.random.default_rng(0)
        root = tmp_path / "images"
        root.mkdir(exist_ok=True)
        for name, count in counts.items():
            (root / name).mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{i}.png")
        return root

    return make


@pytest.fixture
def nobody(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """``with nobody():`` makes this process one that permissions hold for, which they do not for root."""

    @contextmanager
    def become() -> Iterator[None]:
        if os.geteuid():
            yield
            return
        for folder in (tmp_path, *tmp_path.parents):
            if folder.owner() == "root" and folder.stat().st_mode & 0o077 == 0:
                folder.chmod(0o711)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return become
