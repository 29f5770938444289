"""Hashes by which images are known again on any machine."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ghostlab.data.content import content_hashes
from ghostlab.data.sources import CustomSource, FileSource, MemorySource, Source

__all__ = ["digest", "image_hashes"]


def digest(source: Source) -> str:
    """16 hex digits of the images' contents, their order and their classes, wherever they lie."""
    hashed = hashlib.sha256(np.ascontiguousarray(source.targets).tobytes())
    hashed.update("\n".join(source.class_names).encode(errors="surrogateescape"))
    hashed.update(source.pixels.tobytes() if isinstance(source, MemorySource) else image_hashes(source).tobytes())
    return hashed.hexdigest()[:16]


def image_hashes(source: Source) -> NDArray[np.uint64]:
    """64 bits (N,) of the content of each image: of its pixels in memory, of its file, or as its source says."""
    if isinstance(source, MemorySource):
        digests = (hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest() for pixels in source.pixels)
        return np.frombuffer(b"".join(one[:8] for one in digests), "<u8")
    if isinstance(source, CustomSource):
        return source.hashes
    if isinstance(files := getattr(source, "files", source), FileSource):
        return content_hashes(files.paths)
    raise TypeError(f"no way to tell one {type(source).__name__} from another")
