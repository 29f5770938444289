"""A file of a teacher's answers: one entry for every image in every epoch, with the seed that draws the image again.

Of each answer the K most probable classes are kept, 4 bytes a class.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ghostlab.errors import RunError, UsageError
from ghostlab.files import write_text, writing

__all__ = [
    "MAX_CLASSES",
    "AnswerCache",
    "Header",
    "as_tensors",
    "compress_logits",
    "describe_mismatch",
    "expand_logits",
    "fingerprint_difference",
    "refuse_mismatch",
]

HEADER, ANSWERS, DONE, SECONDS = "cache.json", "answers.bin", "done.txt", "seconds.txt"


class Header(NamedTuple):
    """What a cache holds. ``fingerprint`` is all that its answers depend on: two caches with the same one are equal."""

    fingerprint: dict[str, Any]
    images: int
    classes: int
    k: int
    teacher: str
    """The teacher's name, with its top-1."""
    top1: float

    @property
    def entry(self) -> np.dtype[Any]:
        """One image in one epoch: 4 k + 4 bytes, little-endian."""
        return np.dtype([("seed", "<u4"), ("classes", "<u2", (self.k,)), ("probabilities", "<f2", (self.k,))])


class AnswerCache:
    """The entries (epochs, images) of a folder, memory-mapped; epochs can be added at any time.

    ``done`` counts the entries that are written, in the order in which a build takes them: epoch by epoch. What a
    killed build had written after it last counted is written again.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header
        self._mapped: NDArray[Any] | None = None

    @classmethod
    def create(cls, folder: Path, header: Header) -> AnswerCache:
        """An empty cache in ``folder``."""
        cache = cls(folder, header)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ANSWERS).write_bytes(b"")
        write_text(folder / DONE, "0\n")
        write_text(folder / SECONDS, "0\n")
        write_text(folder / HEADER, json.dumps(header._asdict(), indent=2) + "\n")
        return cache

    @classmethod
    def open(cls, folder: Path) -> AnswerCache | None:
        """The cache in ``folder``, None where there is none; ``RunError`` for one that is damaged."""
        file = folder / HEADER
        if not file.is_file():
            return None
        try:
            cache = cls(folder, Header(**json.loads(file.read_text(encoding="utf-8"))))
            size, whole = (folder / ANSWERS).stat().st_size, cache.done * cache.header.entry.itemsize
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{folder}: not a cache of answers ({' '.join(str(error).split())})") from error
        if size < whole:
            raise RunError(
                f"{folder}: answers.bin has {size:,} bytes, less than the {whole:,} written; delete the folder"
            )
        return cache

    @property
    def done(self) -> int:
        """Entries written so far."""
        return int((self.folder / DONE).read_text(encoding="utf-8"))

    @property
    def epochs(self) -> int:
        """Whole epochs written so far."""
        return self.done // self.header.images

    @property
    def size(self) -> int:
        """Bytes of the written entries."""
        return self.done * self.header.entry.itemsize

    @property
    def seconds(self) -> float | None:
        """What asking for the entries so far took; None for a cache of a version that did not count it."""
        try:
            return float((self.folder / SECONDS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def seconds_of(self, epochs: int) -> float | None:
        """What asking for the first ``epochs`` took, at the mean of all."""
        whole = self.seconds
        return None if whole is None or not self.done else whole * min(1.0, epochs * self.header.images / self.done)

    def add_seconds(self, seconds: float) -> None:
        """Count what asking for entries took; of a cache without a count nothing is known of the others."""
        if (before := self.seconds) is not None:
            write_text(self.folder / SECONDS, f"{before + seconds:.3f}\n")

    def write(self, epoch: int, index: NDArray[np.int64], entries: NDArray[Any], done: int) -> None:
        """Write entries (n,) of the images at ``index`` (n,) and then count them: ``done`` in all."""
        mapped = self._grown(epoch + 1)
        mapped.reshape(-1, self.header.images)[epoch, index] = entries
        mapped.flush()
        write_text(self.folder / DONE, f"{done}\n")

    def read(self, epoch: int, index: NDArray[np.int64]) -> NDArray[Any]:
        """Entries (n,) of the images at ``index`` (n,)."""
        if self._mapped is None:
            self._mapped = np.memmap(self.folder / ANSWERS, self.header.entry, "r").reshape(-1, self.header.images)
        return self._mapped[epoch, index]

    def seeds(self, epoch: int, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The seeds (n,) with which the images at ``index`` (n,) were drawn."""
        return self.read(epoch, index)["seed"].astype(np.int64)

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        """The stored ``classes`` and ``probabilities`` (n, k) of the images at ``index`` (n,)."""
        return as_tensors(self.read(epoch, index.numpy()))

    def logits(self, found: Mapping[str, Tensor]) -> Tensor:
        """What ``lookup`` found as logits (n, classes), on the device where it is."""
        return expand_logits(found["classes"], found["probabilities"], self.header.classes)

    def _grown(self, epochs: int) -> np.memmap[Any, Any]:
        """The file for writing, grown to ``epochs`` where it is shorter; ``WriteError`` where there is no room."""
        file, size = self.folder / ANSWERS, epochs * self.header.images * self.header.entry.itemsize
        if (before := file.stat().st_size) < size:
            with writing(file), file.open("r+b") as opened:
                # With blocks behind every byte where the system can: a write to mapped memory that finds no room ends
                # the process.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(opened.fileno(), before, size - before)
                else:
                    os.truncate(opened.fileno(), size)
        return np.memmap(file, self.header.entry, "r+")


def as_tensors(entries: NDArray[Any]) -> dict[str, Tensor]:
    """The ``classes``, int32, and ``probabilities``, float16, of entries (n,), both (n, k)."""
    classes = torch.from_numpy(entries["classes"].astype(np.int32))
    return {"classes": classes, "probabilities": torch.from_numpy(entries["probabilities"].copy())}


def fingerprint_difference(ours: Any, theirs: Any, key: str = "") -> str | None:
    """The first key, with both values, in which two fingerprints differ."""
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        ours, theirs = (dict(zip(map(str, range(len(each))), each, strict=True)) for each in (ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        joined = ((f"{key}.{name}" if key else name, name) for name in sorted({*ours, *theirs}))
        found = (fingerprint_difference(ours.get(name), theirs.get(name), path) for path, name in joined)
        return next((text for text in found if text), None)
    return None if ours == theirs else f"{key} is {_short(theirs)} there, {_short(ours)} here"


def describe_mismatch(cache: AnswerCache, fingerprint: dict[str, Any]) -> str | None:
    """What a cache was built with and a run has not, None when the cache is the run's."""
    # JSON knows no tuples and no integers as keys.
    return fingerprint_difference(json.loads(json.dumps(fingerprint)), cache.header.fingerprint)


def refuse_mismatch(cache: AnswerCache, fingerprint: dict[str, Any]) -> None:
    """``UsageError`` naming what a cache was built with and a run has not."""
    if text := describe_mismatch(cache, fingerprint):
        raise UsageError(f"cache_folder={cache.folder}: built for another run: {text}")


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


MAX_CLASSES = 2**16
"""More classes than this have no 2-byte index."""
FLOOR = 2.0**-25
"""What a class that got no mass is given: half of the smallest probability that float16 holds."""


def compress_logits(logits: Tensor, k: int) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
    """The ``k`` most probable classes of logits (B, classes) and their probabilities, both (B, k), on the CPU."""
    top = logits.float().softmax(1).topk(k, dim=1)
    classes, probabilities = top.indices.cpu().numpy(), top.values.cpu().numpy()
    return classes.astype(np.uint16), probabilities.astype(np.float16)


def expand_logits(classes: Tensor, probabilities: Tensor, num_classes: int) -> Tensor:
    """Logits (B, ``num_classes``), float32: logarithms of the stored probabilities (B, k) of ``classes`` (B, k).

    What they leave of 1 is shared out evenly among the other classes, as in Shen and Xing, "A Fast Knowledge
    Distillation Framework", https://arxiv.org/abs/2112.01528, section 3.2.
    """
    stored = probabilities.float()
    others = max(num_classes - stored.shape[1], 1)
    rest = (1 - stored.sum(1, keepdim=True)).clamp(min=0) / others
    full = rest.expand(-1, num_classes).scatter(1, classes.long(), stored)
    return full.clamp(min=FLOOR).log()
