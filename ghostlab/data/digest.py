"""A hash by which the images of a split are known again on any machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np

from ghostlab.data.sources import FileSource, MemorySource, Source

__all__ = ["digest"]


def digest(source: Source) -> str:
    """16 hex digits of the images, their order and their classes.

    Images in memory count with their pixels, files with their names below their common folder and their sizes.
    """
    hashed = hashlib.sha256(np.ascontiguousarray(source.targets).tobytes())
    hashed.update("\n".join(source.class_names).encode())
    for part in _parts(source):
        hashed.update(part)
    return hashed.hexdigest()[:16]


def _parts(source: Source) -> Iterable[bytes]:
    if isinstance(source, MemorySource):
        yield source.pixels.tobytes()
    elif isinstance(files := getattr(source, "files", source), FileSource):
        # Of a million paths the first and the last in order have in common what all have; a Path for each is slow.
        root = os.path.commonpath([min(files.paths), max(files.paths)])
        for path in files.paths:
            yield f"{path[len(root) :]} {os.path.getsize(path)}\n".encode()  # noqa: PTH202
    else:
        raise TypeError(f"no way to tell one {type(source).__name__} from another")
