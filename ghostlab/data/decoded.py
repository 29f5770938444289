"""Image files decoded once: their pixels in one file, memory-mapped by all runs and processes that train on them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from ghostlab.data.config import DataConfig
from ghostlab.data.content import digest
from ghostlab.data.sources import FileSource, Source, UnreadableError, read_image
from ghostlab.errors import RunError
from ghostlab.files import folder_name, write_file, write_text
from ghostlab.terminal import tracked

__all__ = ["DecodedSource", "decode_once", "decoded_bytes"]

PIXELS, INDEX = "pixels.bin", "index.json"
VERSION = 2
SAMPLE = 256
CHUNK = 1024

logger = logging.getLogger(__name__)


class _ImageEntry(NamedTuple):
    """Where an image begins in the file of pixels and how large it is, or what the decoder says against its bytes.

    With neither a size nor a reason the system could not read the file: it is read when it is wanted.
    """

    offset: int
    height: int = 0
    width: int = 0
    unreadable: str | None = None

    @property
    def absent(self) -> bool:
        return self.unreadable is None and not self.height


@dataclass(frozen=True)
class DecodedSource:
    """A ``FileSource`` whose pixels lie in one file: the same images, and the same errors for the unreadable ones."""

    files: FileSource
    kept: Path
    entries: Sequence[_ImageEntry]

    @property
    def targets(self) -> NDArray[np.int64]:
        return self.files.targets

    @property
    def class_names(self) -> Sequence[str]:
        return self.files.class_names

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Of all images, one after another: (bytes,); every process maps the file for itself."""
        return np.memmap(self.kept, np.uint8, "r")

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "pixels"}

    def load(self, index: int) -> Image.Image:
        entry = self.entries[index]
        if entry.absent:
            return self.files.load(index)
        offset, height, width, unreadable = entry
        if unreadable is not None:
            raise UnreadableError(self.files.paths[index], unreadable)
        return Image.fromarray(self.pixels[offset : offset + 3 * height * width].reshape(height, width, 3))


def decode_once(source: Source, cfg: DataConfig) -> Source:
    """The source with its images decoded, where they lie in files and ``cfg`` has a folder and enough room for them.

    The name of its folder says which files they are, so changed files are decoded anew. Raises ``RunError`` where that
    folder cannot be written.
    """
    if cfg.decoded is None or not isinstance(source, FileSource):
        return source
    size = decoded_bytes(source)
    if size > cfg.decoded_gib * 2**30:
        return source
    folder = Path(cfg.decoded) / folder_name(cfg.name) / _name(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        room = (folder / INDEX).exists() or 2 * size < shutil.disk_usage(folder).free
        return _decoded_in(source, folder) if room else source
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"data.decoded={cfg.decoded}: {reason}; data.decoded=null decodes every time") from error


def _decoded_in(source: FileSource, folder: Path) -> DecodedSource:
    """With the pixels in ``folder``, where the first process that wants them puts them; others wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        entries = _read_index(folder, len(source.paths))
        if entries is None:
            entries = _decode(source, folder)
        elif any(entry.absent for entry in entries):
            entries = _complete(source, folder, entries)
    if absent := sum(entry.absent for entry in entries):
        logger.warning("%d of %d images could not be read to be decoded once; they are read anew", absent, len(entries))
    return DecodedSource(source, folder / PIXELS, entries)


def decoded_bytes(source: FileSource) -> float:
    """How many bytes the decoded images take, estimated from the headers of a few hundred files."""
    paths = source.paths[:: max(1, len(source.paths) // SAMPLE)]
    return float(np.mean([_header_bytes(path) for path in paths])) * len(source.paths)


def _name(source: FileSource) -> str:
    times = "".join(f"{_time(path)}\n" for path in source.paths)
    return hashlib.sha256(f"{digest(source)} {PIL.__version__}\n{times}".encode()).hexdigest()[:16]


def _time(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 (a Path for each of a million files is slow)
    except OSError:  # whoever wants the image will say so
        return 0


def _header_bytes(path: str) -> int:
    try:
        with Image.open(path) as image:
            return 3 * image.width * image.height
    except Exception:  # an unreadable file takes nothing, and is dealt with when it is decoded
        return 0


def _read_index(folder: Path, images: int) -> list[_ImageEntry] | None:
    """The entries of a whole file of pixels; None where there is none."""
    try:
        read = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        # A list alone is of an earlier version, which took errors of the system for what the decoder says.
        listed = read["images"] if "images" in read else [entry[:3] for entry in read]
        entries = [_ImageEntry(*entry) for entry in listed]
        end = max(entry.offset + 3 * entry.height * entry.width for entry in entries)
        whole = end == (folder / PIXELS).stat().st_size
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return entries if whole and len(entries) == images else None


def _decode(source: FileSource, folder: Path) -> list[_ImageEntry]:
    # Whoever holds the lock writes alone: other temporary files were left by processes that were killed.
    for left in folder.glob(f".{Path(PIXELS).stem}.*"):
        left.unlink()
    entries: list[_ImageEntry] = []

    def write(to: Path) -> None:
        with to.open("wb") as out:
            entries.extend(_write(source.paths, out))

    write_file(folder / PIXELS, write)
    _write_index(folder, entries)
    return entries


def _complete(source: FileSource, folder: Path, entries: list[_ImageEntry]) -> list[_ImageEntry]:
    """The entries with those images that could not be read when the others were; their pixels are appended."""
    absent = [k for k, entry in enumerate(entries) if entry.absent]
    file = folder / PIXELS
    whole = file.stat().st_size
    completed = [*entries]
    try:
        with file.open("ab") as out:
            for k, entry in zip(absent, _write([source.paths[k] for k in absent], out), strict=True):
                completed[k] = entry
        _write_index(folder, completed)
    except OSError:  # no room for them: what is there goes on to be of use
        os.truncate(file, whole)
        return entries
    return completed


def _write_index(folder: Path, entries: list[_ImageEntry]) -> None:
    write_text(folder / INDEX, json.dumps({"version": VERSION, "images": entries}))


def _write(paths: Sequence[str], out: BinaryIO) -> Iterator[_ImageEntry]:
    offset = out.seek(0, os.SEEK_END)
    for image in _images(paths):
        if isinstance(image, UnreadableError):
            yield _ImageEntry(offset, unreadable=None if image.passing else image.reason)
            continue
        pixels = np.asarray(image)
        out.write(pixels.tobytes())
        yield _ImageEntry(offset, *pixels.shape[:2])
        offset += pixels.nbytes


def _images(paths: Sequence[str]) -> Iterator[Image.Image | UnreadableError]:
    """All images in order, decoded by several threads, a part at a time so that few are in memory."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        chunks = (threads.map(_readable, paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK))
        yield from tracked(chain.from_iterable(chunks), "decoding the images once", len(paths))


def _readable(path: str) -> Any:
    try:
        return read_image(path)
    except UnreadableError as error:
        return error
