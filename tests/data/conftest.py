"""Folders of small images, made on the fly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
