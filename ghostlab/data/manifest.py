"""What a run was trained on and judged by, as a hash of every image's content in its folder; and what has changed."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ghostlab.data.config import DataConfig
from ghostlab.data.content import image_hashes
from ghostlab.data.datasets import build
from ghostlab.data.sources import Source
from ghostlab.errors import GhostlabError, shortened
from ghostlab.files import write_file

__all__ = [
    "Manifest",
    "SplitHashes",
    "clear_manifest_cache",
    "current_manifest",
    "describe_changes",
    "describe_class_changes",
]

FILE = "images.npz"


@dataclass(frozen=True)
class SplitHashes:
    """Training or validation images in their order: ``hashes`` uint64 and ``targets`` int64, both (N,)."""

    hashes: NDArray[np.uint64]
    targets: NDArray[np.int64]

    @classmethod
    def of(cls, source: Source) -> SplitHashes:
        return cls(image_hashes(source), np.asarray(source.targets, np.int64))

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True)
class Manifest:
    """The images of a run; ``seen`` are hashes of others from which its weights have learned, those of the runs that it
    started from or was taught by."""

    class_names: Sequence[str]
    train: SplitHashes
    val: SplitHashes
    seen: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(cls, train: Source, val: Source) -> Manifest:
        """The present images."""
        return cls(tuple(train.class_names), SplitHashes.of(train), SplitHashes.of(val))

    @cached_property
    def digest(self) -> str:
        """16 hex digits of both halves: the images, their order and their classes."""
        hashed = hashlib.sha256("\n".join(self.class_names).encode(errors="surrogateescape"))
        for half in (self.train, self.val):
            hashed.update(len(half).to_bytes(8, "little") + half.hashes.tobytes() + half.targets.tobytes())
        return hashed.hexdigest()[:16]

    @property
    def leaked(self) -> float:
        """The share of the validation images that are among those ``seen``."""
        return float(np.isin(self.val.hashes, self.seen).mean())

    def having_seen(self, hashes: NDArray[np.uint64]) -> Manifest:
        """The same with these images seen, too; training images of its own do not count."""
        return replace(self, seen=np.setdiff1d(np.union1d(self.seen, hashes), self.train.hashes))

    def write(self, folder: Path) -> None:
        """Write it into a run's folder."""
        names = np.frombuffer(json.dumps(list(self.class_names)).encode(), np.uint8)
        parts = {"train": self.train.hashes, "train_targets": self.train.targets, "val": self.val.hashes}
        whole = {"class_names": names, **parts, "val_targets": self.val.targets, "seen": self.seen}
        write_file(folder / FILE, lambda temporary: np.savez_compressed(temporary, **whole))  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """That of a run; None where it is missing or damaged, as in runs of earlier versions."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as kept:
                names = json.loads(kept["class_names"].tobytes().decode())
                train, val = (SplitHashes(kept[half], kept[f"{half}_targets"]) for half in ("train", "val"))
                return cls(tuple(map(str, names)), train, val, kept["seen"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None


def current_manifest(data: Mapping[str, Any]) -> Manifest | None:
    """The images of a folder or of a function of the user's as they are now, from the ``data`` node of a configuration.

    None for those that cannot be read. A process looks once, until ``clear_manifest_cache()``.
    """
    root = data.get("root")
    place = None if root is None else str(Path(str(root)).expanduser().absolute())
    skip, options = data.get("on_error") == "skip", yaml.safe_dump(data.get("options") or {})
    return _current_manifest(data["name"], place, data.get("val_fraction"), data.get("split_seed"), skip, options)


def clear_manifest_cache() -> None:
    """Look at the images again when they are next asked for."""
    _current_manifest.cache_clear()


@lru_cache(maxsize=4)
def _current_manifest(
    name: str, root: str | None, val_fraction: float | None, split_seed: int | None, skip: bool, options: str
) -> Manifest | None:
    given: dict[str, Any] = {"val_fraction": val_fraction, "split_seed": split_seed, "options": yaml.safe_load(options)}
    try:
        with _unsaid():
            return Manifest.of(*build(DataConfig(name, root, **given, on_error="skip" if skip else "raise")))
    except (GhostlabError, OSError, TypeError):
        return None


@contextmanager
def _unsaid() -> Iterator[None]:
    """What is left out or wrong is said when the run's data is built."""
    logger = logging.getLogger("ghostlab.data.folder")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def describe_changes(before: Manifest, now: Manifest) -> str:
    """Classes and images that are new, gone, moved to the other half or in another class; empty where nothing is."""
    told = [
        *describe_class_changes(before.class_names, now.class_names),
        *_images(before, now, "training"),
        *_images(before, now, "validation"),
        *_moved(before.train, now.val, "training to validation"),
        *_moved(before.val, now.train, "validation to training"),
        *_relabelled(before, now),
    ]
    return ", ".join(told) or ("" if before.digest == now.digest else "the images in another order")


def describe_class_changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """``class 'ant' new``, ``classes 'dog', 'emu' gone``."""
    sets = {"new": set(now) - set(before), "gone": set(before) - set(now)}
    named = {what: [f"'{name}'" for name in sorted(names)] for what, names in sets.items()}
    told = [f"class{'es' * (len(names) > 1)} {shortened(names)} {what}" for what, names in named.items() if names]
    return told if told or list(before) == list(now) else ["the classes in another order"]


def _images(before: Manifest, now: Manifest, name: str) -> list[str]:
    """``3 of 80 training images new``, ``2 of 79 training images gone``."""
    old, new = (one.train if name == "training" else one.val for one in (before, now))
    counts = {"new": (_absent(new, before), len(new)), "gone": (_absent(old, now), len(old))}
    return [f"{count:,} of {size:,} {name} images {what}" for what, (count, size) in counts.items() if count]


def _absent(half: SplitHashes, whole: Manifest) -> int:
    """How many of these images are in neither half."""
    return int((~np.isin(half.hashes, np.concatenate([whole.train.hashes, whole.val.hashes]))).sum())


def _moved(before: SplitHashes, now: SplitHashes, way: str) -> list[str]:
    count = int(np.isin(now.hashes, before.hashes).sum())
    return [f"{count:,} images moved from {way}"] if count else []


def _relabelled(before: Manifest, now: Manifest) -> list[str]:
    """Images that are there twice, in several classes, say nothing."""
    old, new = (dict(_labels(one)) for one in (before, now))
    count = sum(old[one] != new[one] for one in old.keys() & new.keys())
    return [f"{count:,} images in another class"] if count else []


def _labels(one: Manifest) -> list[tuple[int, str]]:
    halves = [(half.hashes.tolist(), half.targets.tolist()) for half in (one.train, one.val)]
    return [
        (h, one.class_names[target]) for hashes, targets in halves for h, target in zip(hashes, targets, strict=True)
    ]
