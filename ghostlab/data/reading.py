"""Image files, whatever Pillow decodes, as RGB; and what is said about those that cannot be read."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["UnreadableError", "read_image", "suffixes", "to_rgb"]

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
