"""Images in folders, one for each class, with a split of their own or without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghostlab.data.sources import FileSource
from ghostlab.data.split import split_fraction
from ghostlab.errors import UsageError

if TYPE_CHECKING:
    from ghostlab.data.config import DataConfig

__all__ = ["EXTENSIONS", "folder_sources", "image_files", "scan"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
EXPECTED = "expected train/ and val/ with a folder for each class, or such class folders alone"


def folder_sources(cfg: DataConfig) -> tuple[FileSource, FileSource]:
    """The training and validation images of ``data.root``.

    Raises ``UsageError`` when the folder is missing or empty, a class has no image, or train and val differ in classes.
    """
    root = Path(str(cfg.root)).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={cfg.root}: {'not a folder' if root.exists() else 'no such folder'}; {EXPECTED}")
    halves = [half for half in ("train", "val") if (root / half).is_dir()]
    if len(halves) == 1:
        raise UsageError(f"data.root={cfg.root}: has {halves[0]}/ only; {EXPECTED}")
    return _two_folders(root, cfg) if halves else _one_folder(root, cfg)


def scan(root: Path, key: str) -> FileSource:
    """All images below the class folders in ``root``, sorted by name; errors begin with ``key``."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        found = f"one class folder ('{classes[0]}')" if classes else "no class folders"
        raise UsageError(f"{key}: {found} in {root}; {EXPECTED}")
    files = [image_files(root / name) for name in classes]
    for name, paths in zip(classes, files, strict=True):
        if not paths:
            raise UsageError(f"{key}: no images in the class folder {root / name}; read are {', '.join(EXTENSIONS)}")
    targets = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return FileSource([path for paths in files for path in paths], targets, classes)


def _two_folders(root: Path, cfg: DataConfig) -> tuple[FileSource, FileSource]:
    key = f"data.root={cfg.root}"
    train, val = scan(root / "train", key), scan(root / "val", key)
    for name, one, other in (("train", train, val), ("val", val, train)):
        if extra := sorted(set(one.class_names) - set(other.class_names)):
            names = ", ".join(extra[:5]) + (f", ... ({len(extra)} in all)" if len(extra) > 5 else "")
            raise UsageError(f"{key}: train/ and val/ must have the same classes; in {name}/ only: {names}")
    return train, val


def _one_folder(root: Path, cfg: DataConfig) -> tuple[FileSource, FileSource]:
    key = f"data.root={cfg.root}"
    images = scan(root, key)
    if cfg.val_fraction is None:
        raise UsageError(f"data.val_fraction=null: {key} has no val/ folder; give the part of it to validate on")
    counts = np.bincount(images.targets)
    if counts.min() < 2:
        name = images.class_names[int(counts.argmin())]
        raise UsageError(f"{key}: class '{name}' has one image; a split into train and val needs two or more")
    train, val = split_fraction(images.targets, cfg.val_fraction, cfg.split_seed or 0)
    return images.select(train), images.select(val)


def image_files(folder: Path) -> list[str]:
    """All image files in a folder and the folders below it, sorted."""
    return sorted(
        os.path.join(parent, name)  # noqa: PTH118 (a Path for each of a million files is slow)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
    )
