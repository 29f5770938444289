"""A data set: circles, squares and triangles, drawn from a seed."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ghostlab.data.sources import MemorySource

__all__ = ["shapes"]

NAMES = ("circle", "square", "triangle")


def shapes(root: str | None, size: int = 24, count: int = 240, seed: int = 0) -> tuple[MemorySource, MemorySource]:
    """``count`` images of ``size`` pixels to train on and a quarter as many to validate on; ``root`` is not needed."""
    draws = np.random.default_rng(seed)
    return _drawn(size, count, draws), _drawn(size, count // 4, draws)


def _drawn(size: int, count: int, draws: np.random.Generator) -> MemorySource:
    targets = np.arange(count) % len(NAMES)
    return MemorySource(np.stack([_shape(target, size, draws) for target in targets]), targets, NAMES)


def _shape(target: int, size: int, draws: np.random.Generator) -> np.ndarray:
    """Pixels (size, size, 3) of one shape of any colour in any place."""
    image = Image.fromarray(draws.integers(0, 60, (size, size, 3), dtype=np.uint8))
    radius = draws.uniform(size / 5, size / 3)
    x, y = draws.uniform(radius, size - radius, 2)
    colour = tuple(map(int, draws.integers(100, 256, 3)))
    canvas = ImageDraw.Draw(image)
    if target == 0:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        canvas.regular_polygon((x, y, radius), 4 if target == 1 else 3, fill=colour)
    return np.asarray(image)
