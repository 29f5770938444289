"""How folders of images are laid out: which of them are splits and which are classes."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ghostlab.data.left_out import AGAIN_FOLDER, BESIDE, HIDDEN, NOWHERE, OUTSIDE, LeftOut
from ghostlab.data.reading import suffixes
from ghostlab.data.walk import folder_id, folders_above, is_left_out
from ghostlab.errors import UsageError
from ghostlab.files import shown

__all__ = ["EXPECTED", "class_folders", "few", "halves", "refuse_splits_as_classes"]

EXPECTED = "expected train/ and val/ with a folder for each class, or such class folders alone"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, in any case, that are a split where they have folders in them, and else may be a class."""


def halves(root: str, key: str, left_out: LeftOut) -> list[str]:
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
        left_out.add(BESIDE, os.path.join(root, name))  # noqa: PTH118
    return [os.path.join(root, name) for name in chosen]  # noqa: PTH118


def class_folders(root: str, key: str, left_out: LeftOut) -> dict[str, list[str]]:
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


def refuse_splits_as_classes(
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


def few(names: Sequence[str]) -> str:
    """The first five of many names."""
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")


def _no_class(entry: os.DirEntry[str], above: set[tuple[int, int]]) -> str:
    """Why an entry beside the class folders is left out and told; empty for class folders and for other files."""
    if not entry.is_dir():
        image = entry.name.rpartition(".")[2].lower() in suffixes() and not entry.name.startswith(".")
        nowhere = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
        return NOWHERE if nowhere else OUTSIDE if image else ""
    if is_left_out(entry.name):
        return HIDDEN
    return AGAIN_FOLDER if entry.is_symlink() and folder_id(entry.path) in above else ""


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
