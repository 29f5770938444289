"""Where the images of a split come from: arrays in memory or files, always handed out as RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostlab.data.reading import UnreadableError, read_image, to_rgb

__all__ = ["FileSource", "MemorySource", "Source", "UnreadableError", "read_image", "to_rgb"]


class Source(Protocol):
    """The images of one split with their classes."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class indices (N,)."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names in the order of the class indices."""

    def load(self, index: int) -> Image.Image:
        """The image in mode RGB; raises ``UnreadableError``."""


@dataclass(frozen=True)
class MemorySource:
    """Decoded images: ``pixels`` are uint8 (N, H, W) or (N, H, W, 3), ``targets`` int64 (N,)."""

    pixels: NDArray[np.uint8]
    targets: NDArray[np.int64]
    class_names: Sequence[str]

    def load(self, index: int) -> Image.Image:
        return to_rgb(Image.fromarray(self.pixels[index]))

    def select(self, indices: NDArray[np.int64]) -> MemorySource:
        """The images at ``indices``."""
        return replace(self, pixels=self.pixels[indices], targets=self.targets[indices])


@dataclass(frozen=True)
class FileSource:
    """Image files: ``paths`` has N entries, ``targets`` is int64 (N,)."""

    paths: Sequence[str]
    targets: NDArray[np.int64]
    class_names: Sequence[str]

    def load(self, index: int) -> Image.Image:
        return read_image(self.paths[index])

    def select(self, indices: NDArray[np.int64]) -> FileSource:
        """The files at ``indices``."""
        return replace(self, paths=[self.paths[i] for i in indices], targets=self.targets[indices])
