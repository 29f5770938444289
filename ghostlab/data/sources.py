"""Where the images of a split come from: arrays in memory, files or code of the user's, always handed out as RGB."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ghostlab.data.reading import UnreadableError, read_image, to_rgb
from ghostlab.terminal import tracked

__all__ = ["CustomSource", "FileSource", "MemorySource", "Source", "UnreadableError", "read_image", "to_rgb"]


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


@dataclass(frozen=True)
class CustomSource:
    """The ``source`` of the user's that ``name`` names: its images in RGB, and what fails in it as an unreadable image.

    ``given`` are the hashes (N,) of its images' contents, where it has them.
    """

    source: Any
    targets: NDArray[np.int64]
    class_names: Sequence[str]
    name: str
    given: NDArray[np.uint64] | None = None

    def load(self, index: int) -> Image.Image:
        try:
            image = self.source.load(index)
            if not isinstance(image, Image.Image):
                raise TypeError(f"load returns a {type(image).__name__}, not a PIL image")
            return to_rgb(image)
        except UnreadableError:
            raise
        except Exception as error:
            raise UnreadableError(f"{self.name}.load({index})", f"{type(error).__name__}: {error}") from error

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """64 bits (N,) of each image: those given, else of its pixels; of one that cannot be read, of its name."""
        if self.given is not None:
            return self.given
        images = tracked(range(len(self.targets)), "reading all images once to know them again")
        return np.frombuffer(b"".join(map(self._hash, images)), "<u8")

    def _hash(self, index: int) -> bytes:
        try:
            image = self.load(index)
        except UnreadableError as error:
            return hashlib.sha256(error.path.encode(errors="surrogateescape")).digest()[:8]
        return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()[:8]
