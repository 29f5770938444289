"""Where the images of a split come from: arrays in memory, files or code of the user's, always handed out as RGB."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ghostlab.terminal import tracked

__all__ = ["CustomSource", "FileSource", "MemorySource", "Source", "UnreadableError", "read_image", "suffixes"]

FOREIGN = frozenset({"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow only names, or gives to another program."""

TWO_STEPS = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""Modes, a palette with several transparent entries for one, that have no direct way to RGB."""

WIDE = {"F": "floats", "I": "integers"}


class UnreadableError(Exception):
    """An image file that cannot be read; ``path`` and ``reason`` are strings of one line.

    ``passing`` says that this is due to the system, such as too many open files, and not to the file's bytes: the next
    attempt may succeed.
    """

    def __init__(self, path: str, reason: str, passing: bool = False) -> None:
        super().__init__(path, reason, passing)
        self.path, self.reason, self.passing = path, reason, passing


@cache
def suffixes() -> frozenset[str]:
    """Endings of the files that are read as images, in lower case and without the dot."""
    known = Image.registered_extensions()
    return frozenset(suffix[1:].lower() for suffix, kind in known.items() if kind in _formats())


def read_image(path: str) -> Image.Image:
    """Decode a file, turned upright by its EXIF orientation, in mode RGB; raises ``UnreadableError``."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as short as it can be: this is done for every image)
            content = file.read()
    except (OSError, MemoryError) as error:
        raise UnreadableError(path, _reason(error), passing=True) from error
    # What fails from here on is due to the bytes or to the memory.
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            image.load()
            _turn_upright(image)
            return to_rgb(image)
    except UnidentifiedImageError as error:
        raise UnreadableError(path, "not an image") from error
    except Exception as error:  # the decoders raise what they like: OSError, SyntaxError, struct.error, EOFError, ...
        raise UnreadableError(path, _reason(error), _passes(error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB: 16 bits are scaled to 8, transparency is dropped.

    Raises ``ValueError`` for floats and integers of 32 bits: which of them is white is for whoever made them to say. A
    guess from each image's own values would make two images of one brightness different ones.
    """
    if image.mode == "RGB":
        return image
    if image.mode in WIDE:
        raise ValueError(f"{WIDE[image.mode]} of 32 bits, which do not say what is white; 8 or 16 bits are read")
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    return image.convert(TWO_STEPS.get(image.mode, image.mode)).convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit grey values (H, W) as uint8; up to 255 they are 8-bit ones that were stored in 16, and not darkness."""
    return np.rint(values if values.max() <= 255 else values / 257).astype(np.uint8)


@cache
def _formats() -> tuple[str, ...]:
    # All plugins are loaded now: one that could not be loaded later would make an image "not an image".
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in FOREIGN)


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data says nothing about the pixels
        return


def _reason(error: BaseException) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def _passes(error: Exception) -> bool:
    system = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
    return system or "out of memory" in str(error)


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

    ``known_hashes`` are the hashes (N,) of its images' contents, where it has them.
    """

    source: Any
    targets: NDArray[np.int64]
    class_names: Sequence[str]
    name: str
    known_hashes: NDArray[np.uint64] | None = None

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
        if self.known_hashes is not None:
            return self.known_hashes
        images = tracked(range(len(self.targets)), "reading all images once to know them again")
        return np.frombuffer(b"".join(map(self._hash, images)), "<u8")

    def _hash(self, index: int) -> bytes:
        try:
            image = self.load(index)
        except UnreadableError as error:
            return hashlib.sha256(error.path.encode(errors="surrogateescape")).digest()[:8]
        return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()[:8]
