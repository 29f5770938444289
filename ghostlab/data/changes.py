"""What has changed in a folder of images since a run, in a few words of one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostlab.data.manifest import Half, Manifest

__all__ = ["changes", "class_changes"]

NAMED = 5


def changes(before: Manifest, now: Manifest) -> str:
    """Classes and images that are new, gone, moved to the other half or in another class; empty where nothing is."""
    told = [
        *class_changes(before.class_names, now.class_names),
        *_images(before, now, "training"),
        *_images(before, now, "validation"),
        *_moved(before.train, now.val, "training to validation"),
        *_moved(before.val, now.train, "validation to training"),
        *_relabelled(before, now),
    ]
    return ", ".join(told) or ("" if before.digest == now.digest else "the images in another order")


def class_changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """``class 'ant' new``, ``classes 'dog', 'emu' gone``."""
    sets = {"new": set(now) - set(before), "gone": set(before) - set(now)}
    told = [f"class{'es' * (len(names) > 1)} {_named(names)} {what}" for what, names in sets.items() if names]
    return told if told or list(before) == list(now) else ["the classes in another order"]


def _images(before: Manifest, now: Manifest, name: str) -> list[str]:
    """``3 of 80 training images new``, ``2 of 79 training images gone``."""
    old, new = (one.train if name == "training" else one.val for one in (before, now))
    counts = {"new": (_absent(new, before), len(new)), "gone": (_absent(old, now), len(old))}
    return [f"{count:,} of {size:,} {name} images {what}" for what, (count, size) in counts.items() if count]


def _absent(half: Half, whole: Manifest) -> int:
    """How many of these images are in neither half."""
    return int((~np.isin(half.hashes, np.concatenate([whole.train.hashes, whole.val.hashes]))).sum())


def _moved(before: Half, now: Half, way: str) -> list[str]:
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


def _named(names: set[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:NAMED])
    return shown if len(names) <= NAMED else f"{shown}, ... ({len(names)} in all)"
