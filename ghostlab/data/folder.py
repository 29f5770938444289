"""Images in folders, one for each class, with a split of their own or without."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghostlab.data.content import content_hashes
from ghostlab.data.layout import EXPECTED, class_folders, few, halves, refuse_splits_as_classes
from ghostlab.data.left_out import CLOSED, LeftOut
from ghostlab.data.sources import FileSource
from ghostlab.data.split import distinct_counts, split_content
from ghostlab.data.walk import Found, find_images
from ghostlab.errors import RunError, UsageError
from ghostlab.files import shown

if TYPE_CHECKING:
    from ghostlab.data.config import DataConfig

__all__ = ["READ", "folder_sources", "scan"]

READ = ".jpg, .png, .tif, .webp and all else that Pillow decodes"

logger = logging.getLogger(__name__)
_said: set[str] = set()

_Classes = Mapping[str, Sequence[str]]


def folder_sources(cfg: DataConfig) -> tuple[FileSource, FileSource]:
    """The training and validation images of ``data.root``; what of its folders is left out is told.

    Raises ``UsageError`` when the folder is missing, empty or laid out in another way, a class has no image or train
    and val differ in classes, and ``RunError`` for folders that cannot be opened, unless ``data.on_error=skip``.
    """
    key, root = f"data.root={cfg.root}", str(Path(str(cfg.root)).expanduser())
    if not os.path.isdir(root):  # noqa: PTH112
        raise UsageError(f"{key}: {'not a folder' if os.path.exists(root) else 'no such folder'}; {EXPECTED}")  # noqa: PTH110
    left_out = LeftOut()
    folders = halves(root, key, left_out)
    sources = _scan(folders or [root], key, cfg.on_error, left_out)
    if told := left_out.told(root):
        _say_once(f"{key}: left out are {told}")
    if not folders:
        return _split(sources[0], key, cfg)
    train, val = sources
    _refuse_other_classes(train, val, key)
    return train, val


def scan(root: Path, key: str) -> FileSource:
    """All images below the class folders in ``root``, sorted by name; errors begin with ``key``."""
    return _scan([str(root)], key, "raise", LeftOut())[0]


def _scan(roots: Sequence[str], key: str, on_error: str, left_out: LeftOut) -> list[FileSource]:
    """The images of each root, whose folders are walked as one: each real file counts once in all of them."""
    splits = [class_folders(root, key, left_out) for root in roots]
    owners = [(k, name) for k, split in enumerate(splits) for name in split for _ in split[name]]
    found = find_images([folder for split in splits for named in split.values() for folder in named], left_out)
    if on_error == "raise" and left_out.counts[CLOSED]:
        closed = shown(left_out.examples[CLOSED][0])
        raise RunError(f"{key}: the folder {closed} cannot be opened; data.on_error=skip leaves such folders out")
    _refuse_shared(found, owners, key)
    images, below = iter(found.images), iter(found.folders)
    for split in splits:
        refuse_splits_as_classes(split, _joined(split, below), key)
    return [_source(split, _joined(split, images), key, left_out) for split in splits]


def _joined(split: _Classes, of_folders: Iterator[list[str]]) -> dict[str, list[str]]:
    """What was found in the folders of each class, sorted; that of all of them comes in their order."""
    return {name: sorted(chain.from_iterable(islice(of_folders, len(split[name])))) for name in split}


def _source(split: _Classes, images: Mapping[str, list[str]], key: str, left_out: LeftOut) -> FileSource:
    for name, paths in images.items():
        if not paths:
            folder = split[name][0]
            told = left_out.told(os.path.dirname(folder))  # noqa: PTH120
            more = f"; left out are {told}" if told else ""
            raise UsageError(f"{key}: no images in the class folder {shown(folder)}; read are {READ}{more}")
        if len(split[name]) > 1:
            _say_once(f"{key}: {len(split[name])} folders whose names look the same are the class {name}")
    targets = np.repeat(np.arange(len(images)), [len(paths) for paths in images.values()])
    return FileSource([*chain.from_iterable(images.values())], targets, list(images))


def _refuse_shared(found: Found, owners: Sequence[tuple[int, str]], key: str) -> None:
    for (first, path), (second, other) in found.shared:
        (split, name), (other_split, other_name) = owners[first], owners[second]
        if split == other_split and name != other_name:
            both = f"{shown(path)} and {shown(other)}"
            raise UsageError(f"{key}: {both} are links to the same image, which cannot be of two classes")


def _refuse_other_classes(train: FileSource, val: FileSource, key: str) -> None:
    for name, one, other in (("train", train, val), ("val", val, train)):
        if extra := sorted(set(one.class_names) - set(other.class_names)):
            raise UsageError(f"{key}: train/ and val/ must have the same classes; in {name}/ only: {few(extra)}")


def _split(images: FileSource, key: str, cfg: DataConfig) -> tuple[FileSource, FileSource]:
    if cfg.val_fraction is None:
        raise UsageError(f"data.val_fraction=null: {key} has no val/ folder; give the part of it to validate on")
    hashes = content_hashes(images.paths)
    counts = distinct_counts(hashes, images.targets)
    if counts.min() < 2:
        name = images.class_names[int(counts.argmin())]
        raise UsageError(f"{key}: class '{name}' has one image; a split into train and val needs two or more")
    train, val = split_content(hashes, images.targets, cfg.val_fraction, cfg.split_seed or 0)
    return images.select(train), images.select(val)


def _say_once(line: str) -> None:
    """A process that asks for the images of several runs, or for theirs several times, says it once."""
    if line not in _said and logger.isEnabledFor(logging.WARNING):
        _said.add(line)
        logger.warning("%s", line)
