"""Where the images of a split come from: arrays in memory or files, always handed out as RGB."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["FileSource", "MemorySource", "Source", "UnreadableError", "read_image", "to_rgb"]


class UnreadableError(Exception):
    """An image file that cannot be decoded; ``path`` and ``reason`` are strings."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason


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


def read_image(path: str) -> Image.Image:
    """Decode a file, turned upright by its EXIF orientation, in mode RGB; raises ``UnreadableError``."""
    try:
        with Image.open(path) as image:
            image.load()
            _turn_upright(image)
            return to_rgb(image)
    except UnidentifiedImageError:
        raise UnreadableError(path, "not an image") from None
    except Exception as error:  # the decoders raise what they like: OSError, SyntaxError, struct.error, EOFError, ...
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableError(path, " ".join(reason.split())) from None


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # damaged EXIF data says nothing about the pixels
        ImageOps.exif_transpose(image, in_place=True)


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB: 16 bits are scaled to 8, transparency is dropped."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette with several transparent entries has no direct way to RGB
    return image.convert("RGB")
