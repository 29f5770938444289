"""Data sets that a function of the user's makes, named ``<module>:<function>``, checked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostlab.data.config import DataConfig
from ghostlab.data.sources import CustomSource, FileSource, MemorySource, Source, UnreadableError
from ghostlab.errors import UsageError
from ghostlab.files import shown
from ghostlab.modules import called, failures_named

__all__ = ["custom_sources"]

PARTS = ("targets", "class_names", "load")
"""What every source has."""


def custom_sources(cfg: DataConfig) -> tuple[Source, Source]:
    """The training and validation images that the function ``cfg.name`` makes of ``data.root`` and ``data.options``.

    Raises ``UsageError`` that begins with ``data.factory`` for a function that is not there or fails, and for what it
    returns where that is not two sources with the same classes.
    """
    root = None if cfg.root is None else str(Path(cfg.root).expanduser())
    made = called(cfg.name, "data.factory", {"root": root}, cfg.options)
    key = f"data.factory={cfg.name}"
    if not isinstance(made, tuple | list) or len(made) != 2:
        found = f"{len(made)} values" if isinstance(made, tuple | list) else f"a {type(made).__name__}"
        raise UsageError(f"{key}: it returns {found}, not two sources, (train, val)")
    with failures_named(key):
        train, val = (_checked(one, f"{key}: {half}") for one, half in zip(made, ("train", "val"), strict=True))
    if train.class_names != val.class_names:
        raise UsageError(f"{key}: train and val must have the same class_names in the same order")
    if cfg.on_error == "raise":
        _refuse_unreadable(train, f"{key}: train")
        _refuse_unreadable(val, f"{key}: val")
    return train, val


def _checked(source: Any, where: str) -> Source:
    """The source with its targets and names as this package has them; errors begin with ``where``."""
    if absent := [part for part in PARTS if not hasattr(source, part)]:
        raise UsageError(f"{where} is a {type(source).__name__} without {absent[0]}; a source has {', '.join(PARTS)}")
    names = _class_names(source.class_names, f"{where}.class_names")
    targets = _targets(source.targets, len(names), f"{where}.targets")
    if type(source) is MemorySource:
        _check_pixels(source.pixels, len(targets), f"{where}.pixels")
        return replace(source, targets=targets, class_names=names)
    if type(source) is FileSource:
        paths = [os.path.abspath(path) for path in source.paths]  # noqa: PTH100 (of a million files)
        _require_length(len(paths), len(targets), f"{where}.paths")
        return FileSource(paths, targets, names)
    return CustomSource(source, targets, names, where.partition("=")[2], _hashes(source, len(targets), where))


def _class_names(given: Any, where: str) -> list[str]:
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else []
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{where}: {_short(given)}; must be two names or more, in the order of the class indices")
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: {_short(given)}; '{max(names, key=names.count)}' is there twice")
    return [str(name) for name in names]  # numpy has a class of its own for them


def _targets(given: Any, classes: int, where: str) -> NDArray[np.int64]:
    targets = np.asarray(given)
    if targets.shape == (0,):
        raise UsageError(f"{where}: there are no images")
    if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
        raise UsageError(f"{where}: {targets.dtype} of shape {targets.shape}; must be class indices (N,)")
    least, most = int(targets.min()), int(targets.max())
    if least < 0 or most >= classes:
        wrong = least if least < 0 else most
        raise UsageError(f"{where}: {wrong}, of {classes} classes; must be from 0 to {classes - 1}")
    return targets.astype(np.int64)


def _check_pixels(pixels: Any, count: int, where: str) -> None:
    _require_length(len(pixels), count, where)
    shape = pixels.shape
    if pixels.dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or 0 in shape:
        raise UsageError(f"{where}: {pixels.dtype} of shape {shape}; must be uint8 (N, H, W) or (N, H, W, 3)")


def _hashes(source: Any, count: int, where: str) -> NDArray[np.uint64] | None:
    if not hasattr(source, "hashes"):
        return None
    hashes = np.asarray(source.hashes)
    if hashes.shape != (count,) or not np.issubdtype(hashes.dtype, np.integer):
        raise UsageError(f"{where}.hashes: {hashes.dtype} of shape {hashes.shape}; must be integers ({count},)")
    return hashes.astype(np.uint64)


def _require_length(length: int, count: int, where: str) -> None:
    if length != count:
        raise UsageError(f"{where}: {length:,} of them; must be {count:,}, as many as targets")


def _refuse_unreadable(source: Source, where: str) -> None:
    """Errors of a ``load`` that no image goes through are said at once; those of single images when they are met."""
    try:
        source.load(0)
    except UnreadableError as error:
        told = error.reason if isinstance(source, CustomSource) else f"{shown(error.path)}: {error.reason}"
        raise UsageError(f"{where}.load(0): {told}") from error


def _short(given: Any) -> str:
    text = " ".join(repr(given).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
