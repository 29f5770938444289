"""Images in folders, one for each class, with a split of their own or without."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ghostlab.data.config import DataConfig
from ghostlab.data.content import content_hashes
from ghostlab.data.sources import FileSource, suffixes
from ghostlab.data.split import distinct_counts, split_content
from ghostlab.data.walk import FoundImages, LeftOut, LeftOutKind, find_images, folder_id, folders_above, is_left_out
from ghostlab.errors import RunError, UsageError, shortened
from ghostlab.files import shown

__all__ = ["READABLE", "folder_sources", "scan_class_folders"]

READABLE = ".jpg, .png, .tif, .webp and all else that Pillow decodes"
EXPECTED = "expected train/ and val/ with a folder for each class, or such class folders alone"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, in any case, that are a split where they have folders in them, and else may be a class."""

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
    folders = _train_and_val(root, key, left_out)
    sources = _scan(folders or [root], key, cfg.on_error, left_out)
    if told := left_out.summary(root):
        _say_once(f"{key}: left out are {told}")
    if not folders:
        return _split(sources[0], key, cfg)
    train, val = sources
    _refuse_other_classes(train, val, key)
    return train, val


def scan_class_folders(root: Path, key: str) -> FileSource:
    """All images below the class folders in ``root``, sorted by name; errors begin with ``key``."""
    return _scan([str(root)], key, "raise", LeftOut())[0]


def _scan(roots: Sequence[str], key: str, on_error: str, left_out: LeftOut) -> list[FileSource]:
    """The images of each root, whose folders are walked as one: each real file counts once in all of them."""
    splits = [_class_folders(root, key, left_out) for root in roots]
    owners = [(k, name) for k, split in enumerate(splits) for name in split for _ in split[name]]
    found = find_images([folder for split in splits for named in split.values() for folder in named], left_out)
    if on_error == "raise" and left_out.counts[LeftOutKind.CLOSED]:
        closed = shown(left_out.examples[LeftOutKind.CLOSED][0])
        raise RunError(f"{key}: the folder {closed} cannot be opened; data.on_error=skip leaves such folders out")
    _refuse_shared(found, owners, key)
    images, below = iter(found.images), iter(found.folders)
    for split in splits:
        _refuse_splits_as_classes(split, _joined(split, below), key)
    return [_source(split, _joined(split, images), key, left_out) for split in splits]


def _joined(split: _Classes, of_folders: Iterator[list[str]]) -> dict[str, list[str]]:
    """What was found in the folders of each class, sorted; that of all of them comes in their order."""
    return {name: sorted(chain.from_iterable(islice(of_folders, len(split[name])))) for name in split}


def _source(split: _Classes, images: Mapping[str, list[str]], key: str, left_out: LeftOut) -> FileSource:
    for name, paths in images.items():
        if not paths:
            folder = split[name][0]
            told = left_out.summary(os.path.dirname(folder))  # noqa: PTH120
            more = f"; left out are {told}" if told else ""
            raise UsageError(f"{key}: no images in the class folder {shown(folder)}; read are {READABLE}{more}")
        if len(split[name]) > 1:
            _say_once(f"{key}: {len(split[name])} folders whose names look the same are the class {name}")
    targets = np.repeat(np.arange(len(images)), [len(paths) for paths in images.values()])
    return FileSource([*chain.from_iterable(images.values())], targets, list(images))


def _refuse_shared(found: FoundImages, owners: Sequence[tuple[int, str]], key: str) -> None:
    for (first, path), (second, other) in found.shared:
        (split, name), (other_split, other_name) = owners[first], owners[second]
        if split == other_split and name != other_name:
            both = f"{shown(path)} and {shown(other)}"
            raise UsageError(f"{key}: {both} are links to the same image, which cannot be of two classes")


def _refuse_other_classes(train: FileSource, val: FileSource, key: str) -> None:
    for name, one, other in (("train", train, val), ("val", val, train)):
        if extra := sorted(set(one.class_names) - set(other.class_names)):
            raise UsageError(f"{key}: train/ and val/ must have the same classes; in {name}/ only: {shortened(extra)}")


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


def _train_and_val(root: str, key: str, left_out: LeftOut) -> list[str]:
    """The folders for training and for validation in ``root``, or none where it has class folders alone.

    Raises ``UsageError``, beginning with ``key``, where there is only a part of such a split, or a part twice.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name in _folders(root):
        if (split := SPLITS.get(name.casefold())) and _folders(os.path.join(root, name)):  # noqa: PTH118
            found[split].append(name)
    if not found:
        return []
    for split, names in found.items():
        if len(names) > 1:
            raise UsageError(f"{key}: {_slashed(names)} are both for {split}; {EXPECTED}")
    if missing := {"train", "val"} - set(found):
        there = _slashed(name for names in found.values() for name in names)
        more = "; what is to be validated on must be called val/" if "test" in found and "train" in found else ""
        raise UsageError(f"{key}: has {there} only and no {_slashed(sorted(missing))}; {EXPECTED}{more}")
    chosen = [found[split][0] for split in ("train", "val")]
    for name in set(_folders(root)) - set(chosen):
        left_out.add(LeftOutKind.BESIDE, os.path.join(root, name))  # noqa: PTH118
    return [os.path.join(root, name) for name in chosen]  # noqa: PTH118


def _class_folders(root: str, key: str, left_out: LeftOut) -> dict[str, list[str]]:
    """The folders in ``root`` by class, sorted by name; raises ``UsageError`` when these are fewer than two classes.

    Names that differ in their Unicode form alone, as a Mac writes them and others do, are one class.
    """
    above = {folder_id(root), *folders_above(root)}
    classes: dict[str, list[str]] = defaultdict(list)
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if kind := _no_class(entry, above):
                left_out.add(kind, entry.path)
            elif entry.is_dir():
                classes[unicodedata.normalize("NFC", shown(entry.name))].append(entry.path)
    if len(classes) < 2:
        raise UsageError(f"{key}: {_too_few(root, classes)}; {EXPECTED}")
    return dict(sorted(classes.items()))


def _refuse_splits_as_classes(
    classes: Mapping[str, Sequence[str]], below: Mapping[str, Sequence[str]], key: str
) -> None:
    """Raise ``UsageError`` where a split would be taken for a class; ``below`` are the folders in each class."""
    if all(name.casefold() in SPLITS for name in classes):
        raise UsageError(f"{key}: {_slashed(classes)} have no class folders; {EXPECTED}")
    for name, folders in classes.items():
        inside = below[name]
        if name.casefold() in SPLITS and inside:
            raise UsageError(f"{key}: {shown(folders[0])} looks like a split beside class folders; {EXPECTED}")
        if _is_split(inside):
            within = _slashed(inner for inner in inside if inner.casefold() in SPLITS)
            what = f"the class folder {shown(folders[0])} has {within} in it"
            raise UsageError(f"{key}: {what}, which would be mixed; is data.root={shown(folders[0])} meant? {EXPECTED}")


def _no_class(entry: os.DirEntry[str], above: set[tuple[int, int]]) -> LeftOutKind | None:
    """Why an entry beside the class folders is left out and told; None for class folders and for other files."""
    if not entry.is_dir():
        image = entry.name.rpartition(".")[2].lower() in suffixes() and not entry.name.startswith(".")
        nowhere = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
        return LeftOutKind.NOWHERE if nowhere else LeftOutKind.OUTSIDE if image else None
    if is_left_out(entry.name):
        return LeftOutKind.HIDDEN
    return LeftOutKind.AGAIN_FOLDER if entry.is_symlink() and folder_id(entry.path) in above else None


def _too_few(root: str, classes: Mapping[str, Sequence[str]]) -> str:
    if not classes:
        return f"no class folders in {shown(root)}"
    [[name, folders]] = classes.items()
    inside = _folders(folders[0])
    hint = f"; is data.root={shown(folders[0])} meant?" if len(inside) > 1 else ""
    return f"one class folder ('{name}') in {shown(root)}{hint}"


def _is_split(names: Iterable[str]) -> bool:
    found = {SPLITS.get(name.casefold()) for name in names}
    return "train" in found and bool(found & {"val", "test"})


def _folders(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_left_out(entry.name))


def _slashed(names: Iterable[str]) -> str:
    return " and ".join(f"{shown(name)}/" for name in names)
