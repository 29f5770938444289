"""A folder of very few, small images, for runs that are over in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["TINY", "photos"]

TINY = (
    *("model=timm", "model.name=test_resnet", "data=imagefolder", "data.image_size=32", "data.workers=0"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1"),
)


def photos(root: Path, train: int = 8, val: int = 2, broken: int = 0) -> tuple[str, ...]:
    """The overrides for a folder with so many images, of two classes by turns; ``broken`` more cannot be read."""
    random = np.random.default_rng(0)
    for split, count in (("train", train + broken), ("val", val)):
        for number in range(max(count, 2)):
            file = root / split / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            if number < count:
                Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file)
            if split == "train" and number >= train:
                file.write_text("no image")
    return *TINY, f"data.root={root}"
