"""The image files below folders, each real file once, and what a walk does not take."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ghostlab.data.sources import suffixes
from ghostlab.files import shown

__all__ = ["FoundImages", "LeftOut", "LeftOutKind", "find_images", "folder_id", "folders_above", "is_left_out"]

EXAMPLES = 3
SYSTEM_NAMES = frozenset(
    ("@eadir", "__macosx", "thumbnails", "thumbs", "lost+found", "#recycle", "#snapshot", "$recycle.bin")
)
_Id = tuple[int, int]


class LeftOutKind(StrEnum):
    """Why something is not taken."""

    HIDDEN = "hidden folders"
    HIDDEN_IMAGES = "hidden images"
    SYSTEM = "folders of thumbnails and of the system"
    OTHER = "files without the suffix of an image"
    SPECIAL = "pipes and devices"
    NOWHERE = "links that lead nowhere"
    AGAIN_FOLDER = "links to folders that are read already"
    AGAIN = "further names of images that are read already"
    CLOSED = "folders that cannot be opened"
    BESIDE = "folders beside train/ and val/"
    OUTSIDE = "images outside of class folders"


@dataclass
class LeftOut:
    """How many things of each kind were not taken, with a few of their paths."""

    counts: Counter[LeftOutKind] = field(default_factory=Counter)
    examples: dict[LeftOutKind, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: LeftOutKind, path: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES:
            self.examples[kind].append(path)

    def summary(self, root: str) -> str:
        """One line, with paths as they are below ``root``; empty when nothing was left out."""
        return "; ".join(f"{count:,} {kind} ({self._named(kind, root)})" for kind, count in self.counts.items())

    def _named(self, kind: LeftOutKind, root: str) -> str:
        names = sorted(shown(os.path.relpath(path, root)) for path in self.examples[kind])
        return ", ".join(names + ["..."] * (self.counts[kind] > EXAMPLES))


@dataclass(frozen=True)
class FoundImages:
    """Of each folder asked for: its image files, sorted, and the names of the folders in it.

    ``shared`` are pairs of files, each with the number of the folder asked for, that are one real file with equal
    right: hard links to it, or symbolic links from outside. The first of them is taken.
    """

    images: list[list[str]]
    folders: list[list[str]]
    shared: list[tuple[tuple[int, str], tuple[int, str]]]


def find_images(folders: Sequence[str], left_out: LeftOut) -> FoundImages:
    """All image files in ``folders`` and in those below them; what is left out is added to ``left_out``.

    Links to folders are followed, after all real folders, so that a file counts where it really lies. What is hidden,
    made by a system, no image by its suffix, or there already under another name is left out. A file that is asked for
    itself is taken whatever it is called.
    """
    walk = _Walk(folders, left_out)
    for k in sorted(range(len(folders)), key=lambda k: os.path.islink(folders[k])):  # noqa: PTH114
        if os.path.isdir(folders[k]):  # noqa: PTH112
            walk.enter(k, folders[k], walk.below[k])
        else:
            walk.name(k, folders[k])
    while walk.links:
        walk.follow(*walk.links.popleft())
    return FoundImages([sorted(paths) for paths in walk.once()], [sorted(names) for names in walk.below], walk.shared)


def is_left_out(name: str) -> bool:
    """Whether a folder of this name is left out wherever it is."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


class _Walk:
    def __init__(self, folders: Sequence[str], left_out: LeftOut) -> None:
        self.asked = frozenset(folders)
        self.above = {found for folder in folders for found in folders_above(folder)}
        self.entered: set[_Id] = set()
        self.links: deque[tuple[int, str]] = deque()
        self.files: list[list[tuple[str, int]]] = [[] for _ in folders]  # with what the folder says is their number
        self.linked: list[list[tuple[str, _Id]]] = [[] for _ in folders]
        self.below: list[list[str]] = [[] for _ in folders]
        self.left_out = left_out
        self.shared: list[tuple[tuple[int, str], tuple[int, str]]] = []

    def enter(self, k: int, folder: str, below: list[str]) -> None:
        """Read a folder and the real folders below it as part of the folder asked for with number ``k``."""
        inside = [folder]
        while inside:
            path = inside.pop()
            try:
                if not self._is_new(path):
                    self.left_out.add(LeftOutKind.AGAIN_FOLDER, path)
                    continue
                with os.scandir(path) as entries:
                    inside += self._read(k, entries, below if path == folder else [])
            except OSError:
                self.left_out.add(LeftOutKind.CLOSED, path)

    def name(self, k: int, file: str) -> None:
        """Take a file that is asked for itself; whoever reads it will say if it is none."""
        try:
            self.files[k].append((file, os.stat(file).st_ino))  # noqa: PTH116
        except OSError:
            self.files[k].append((file, 0))

    def follow(self, k: int, link: str) -> None:
        """Read the folder that a link leads to, unless that is one which all of this lies in."""
        try:
            circle = folder_id(link) in self.above
        except OSError:
            circle = False
        if circle:
            self.left_out.add(LeftOutKind.AGAIN_FOLDER, link)
        else:
            self.enter(k, link, [])

    def _read(self, k: int, entries: Iterator[os.DirEntry[str]], below: list[str]) -> list[str]:
        """The folders in a folder; its files are noted."""
        known, folders = suffixes(), []
        for entry in entries:
            _, dot, suffix = entry.name.rpartition(".")
            image = bool(dot) and suffix.lower() in known
            if entry.name.startswith("."):
                if image or entry.is_dir():
                    self.left_out.add(LeftOutKind.HIDDEN_IMAGES if image else LeftOutKind.HIDDEN, entry.path)
            elif entry.name.casefold() in SYSTEM_NAMES:
                self.left_out.add(LeftOutKind.SYSTEM, entry.path)
            elif entry.is_symlink():
                self._link(k, entry, image)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                below.append(entry.name)
            elif not image:
                if entry.path not in self.asked:
                    self.left_out.add(LeftOutKind.OTHER, entry.path)
            elif entry.is_file(follow_symlinks=False):
                self.files[k].append((entry.path, entry.inode()))
            else:
                self.left_out.add(LeftOutKind.SPECIAL, entry.path)
        return folders

    def _link(self, k: int, entry: os.DirEntry[str], image: bool) -> None:
        try:
            found = os.stat(entry.path)  # noqa: PTH116
        except OSError:
            self.left_out.add(LeftOutKind.NOWHERE, entry.path)
            return
        if stat.S_ISDIR(found.st_mode):
            self.links.append((k, entry.path))
        elif not image:
            self.left_out.add(LeftOutKind.OTHER, entry.path)
        elif stat.S_ISREG(found.st_mode):
            self.linked[k].append((entry.path, (found.st_dev, found.st_ino)))
        else:
            self.left_out.add(LeftOutKind.SPECIAL, entry.path)

    def _is_new(self, folder: str) -> bool:
        found = folder_id(folder)
        new = found not in self.entered
        self.entered.add(found)
        return new

    def once(self) -> Iterator[list[str]]:
        """The files of each folder asked for, without those that are there under another name."""
        taken: dict[_Id, tuple[int, str, bool]] = {}
        suspects = self._suspects()
        kept: list[list[str]] = []
        for k, files in enumerate(self.files):
            kept.append([path for path, number in files if number not in suspects or self._first(taken, k, path)])
        for k, links in enumerate(self.linked):
            kept[k] += [path for path, found in links if self._take(taken, k, path, found, True)]
        return iter(kept)

    def _first(self, taken: dict[_Id, tuple[int, str, bool]], k: int, path: str) -> bool:
        try:
            return self._take(taken, k, path, folder_id(path), False)
        except OSError:  # removed a moment ago, as whoever reads it will say
            return True

    def _suspects(self) -> Counter[int] | set[int]:
        """Numbers of files that may have several names; all where there are links, for some file systems give a file
        another number in its folder than by itself."""
        counts = Counter(number for files in self.files for _, number in files)
        return counts if any(self.linked) else {number for number, count in counts.items() if count > 1}

    def _take(self, taken: dict[_Id, tuple[int, str, bool]], k: int, path: str, found: _Id, link: bool) -> bool:
        mine = k, path, link
        other, first, was_link = taken.setdefault(found, mine)
        if taken[found] is mine:
            return True
        if other != k and link == was_link:
            self.shared.append(((other, first), (k, path)))
        self.left_out.add(LeftOutKind.AGAIN, path)
        return False


def folder_id(path: str) -> _Id:
    """Device and number of a real file or folder; raises ``OSError``."""
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino


def folders_above(folder: str) -> Iterator[_Id]:
    """The real folders that a folder lies in: a link to one of them leads in a circle."""
    path = os.path.realpath(folder)
    while (parent := os.path.dirname(path)) != path:  # noqa: PTH120
        yield folder_id(parent)
        path = parent
