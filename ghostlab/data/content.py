"""Images known by what is in them: the same hashes wherever they lie and whatever they are called."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ghostlab.data.sources import CustomSource, FileSource, MemorySource, Source
from ghostlab.files import cache_folder, write_file
from ghostlab.terminal import tracked

__all__ = ["content_hash", "content_hashes", "digest", "image_hashes"]

BLOCK, BLOCKS = 16 * 1024, 4

KEPT_FROM = 2000
"""Files from which on their hashes are kept: fewer are read again in no time."""

SETTLED = 2 * 10**9
"""Nanoseconds after which a file that changes once more has another time of change on every file system."""

PART = 256

THREADS = 8

_State = tuple[int, int, int]
"""Size, time of modification and time of change: while these are the same, so is what is in the file."""

_Known = dict[bytes, tuple[_State, int]]

logger = logging.getLogger(__name__)


def content_hash(path: str) -> int:
    """64 bits of a file's size and bytes; raises ``OSError``.

    Files of up to 64 KiB count whole. Of larger ones four blocks of 16 KiB do, the first, the last and two between:
    with the size these tell one image from another, and a million files are hashed while a disk finds them.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path for each of a million files is slow)
        size = os.fstat(file.fileno()).st_size
        hashed = hashlib.sha256(size.to_bytes(8, "little"))
        if size <= BLOCKS * BLOCK:
            hashed.update(file.read())
        else:
            for block in range(BLOCKS):
                file.seek((size - BLOCK) * block // (BLOCKS - 1))
                hashed.update(file.read(BLOCK))
    return _bits(hashed.digest())


def content_hashes(paths: Sequence[str], cache: Path | None = None) -> NDArray[np.uint64]:
    """The ``content_hash`` (N,) of each file; of one that cannot be read, a hash of its name.

    Those of thousands of files are kept below ``cache`` (None: the user's cache folder) and read again only for files
    whose size or times have changed. Processes that want the same ones wait for each other.
    """
    if len(paths) < KEPT_FROM:
        return np.array([_hash(path)[0] for path in paths], np.uint64)
    root = os.path.commonpath([min(paths), max(paths)])  # of sorted names the first and the last share what all share
    try:
        folder = cache or cache_folder() / "contents"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]}.npz"
        names = [os.fsencode(path[len(root) :]) for path in paths]
        states = [_state(path) for path in paths]
        if None not in (kept := _known_ones(_read(file), names, states)):
            return np.array(kept, np.uint64)
        with FileLock(file.with_suffix(".lock")):
            return _through(file, paths, names, states)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        logger.warning("the hashes of the images in %s are not kept: %s", root, error)
        return np.array([value for value, _ in _hashed(paths)], np.uint64)


def _known_ones(known: _Known, names: Sequence[bytes], states: Sequence[_State]) -> list[int | None]:
    """The hash of each file that is as it was, None for the others."""
    pairs = zip(names, states, strict=True)
    return [entry[1] if (entry := known.get(name)) and entry[0] == state else None for name, state in pairs]


def _through(file: Path, paths: Sequence[str], names: Sequence[bytes], states: Sequence[_State]) -> NDArray[np.uint64]:
    """The hashes, of which those that ``file`` has are not made, and to which it gets the others."""
    known = _read(file)
    found = _known_ones(known, names, states)
    missing = [k for k, value in enumerate(found) if value is None]
    before = time.time_ns() - SETTLED
    for k, (value, readable) in zip(missing, _hashed([paths[k] for k in missing]), strict=True):
        found[k] = value
        if readable and max(states[k][1:]) < before:
            known[names[k]] = states[k], value
    if missing:
        write_file(file, lambda to: _write(to, known))
    return np.array(found, np.uint64)


def _hashed(paths: Sequence[str]) -> Iterable[tuple[int, bool]]:
    """The hash of each file and whether it could be read, by several threads."""
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    with ThreadPoolExecutor(THREADS) as threads:
        hashed = threads.map(lambda part: [*map(_hash, part)], parts)
        yield from chain.from_iterable(tracked(hashed, "reading the images' contents once", len(parts)))


def _hash(path: str) -> tuple[int, bool]:
    try:
        return content_hash(path), True
    except OSError:
        return _bits(hashlib.sha256(os.fsencode(os.path.basename(path))).digest()), False  # noqa: PTH119


def _state(path: str) -> _State:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _bits(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")


def _read(file: Path) -> _Known:
    """What a file has kept; nothing where there is none or it is damaged, for it can be made again."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            names, states, values = (
                kept["names"].tobytes().split(b"\0"),
                kept["states"].tolist(),
                kept["hashes"].tolist(),
            )
        return {n: (tuple(s), v) for n, s, v in zip(names, states, values, strict=True)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(file: Path, known: _Known) -> None:
    names = np.frombuffer(b"\0".join(known), np.uint8)
    states = np.array([state for state, _ in known.values()], np.int64).reshape(-1, 3)
    np.savez(file, names=names, states=states, hashes=np.array([value for _, value in known.values()], np.uint64))


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
