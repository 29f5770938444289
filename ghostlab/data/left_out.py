"""What a walk over folders does not take, counted and told."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ghostlab.files import shown

__all__ = ["LeftOut"]

HIDDEN, HIDDEN_IMAGES = "hidden folders", "hidden images"
SYSTEM = "folders of thumbnails and of the system"
OTHER = "files without the suffix of an image"
SPECIAL = "pipes and devices"
NOWHERE = "links that lead nowhere"
AGAIN_FOLDER, AGAIN = "links to folders that are read already", "further names of images that are read already"
CLOSED = "folders that cannot be opened"
BESIDE, OUTSIDE = "folders beside train/ and val/", "images outside of class folders"

EXAMPLES = 3


@dataclass
class LeftOut:
    """How many things of each kind were not taken, with a few of their paths."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, path: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES:
            self.examples[kind].append(path)

    def told(self, root: str) -> str:
        """One line, with paths as they are below ``root``; empty when nothing was left out."""
        return "; ".join(f"{count:,} {kind} ({self._named(kind, root)})" for kind, count in self.counts.items())

    def _named(self, kind: str, root: str) -> str:
        names = sorted(shown(os.path.relpath(path, root)) for path in self.examples[kind])
        return ", ".join(names + ["..."] * (self.counts[kind] > EXAMPLES))
