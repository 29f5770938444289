"""The table of data sets: a name, and the function that returns its training and validation images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ghostlab.data.custom import custom_sources
from ghostlab.data.downloads import DOWNLOADS, downloaded_sources
from ghostlab.data.folder import folder_sources
from ghostlab.data.sources import MemorySource, Source
from ghostlab.data.split import split_fraction
from ghostlab.errors import UsageError
from ghostlab.modules import is_function
from ghostlab.private_apis import digits_table

if TYPE_CHECKING:
    from ghostlab.data.config import DataConfig

__all__ = ["DATASETS", "DatasetEntry", "build", "dataset_entry"]

DIGITS_VAL = 0.2


@dataclass(frozen=True)
class DatasetEntry:
    """How to build a data set, and which fields of the configuration it needs (with the reason) or has no use for."""

    build: Callable[[DataConfig], tuple[Source, Source]]
    needs: Mapping[str, str] = field(default_factory=dict)
    unused: Sequence[str] = ()


def build(cfg: DataConfig) -> tuple[Source, Source]:
    """The training and validation images of a configuration; raises ``UsageError`` and ``RunError``."""
    train, val = dataset_entry(cfg.name).build(cfg)
    classes = len(train.class_names)
    if cfg.num_classes not in (None, classes):
        raise UsageError(f"data.num_classes={cfg.num_classes}: data={cfg.name} has {classes} classes; null counts them")
    return train, val


def digits(cfg: DataConfig) -> tuple[MemorySource, MemorySource]:
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels, which come with scikit-learn (Alpaydin and
    Kaynak, 1998, UCI machine learning repository), split class by class."""
    table = digits_table()
    pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = MemorySource(pixels, table[:, -1].astype(np.int64), [str(digit) for digit in range(10)])
    train, val = split_fraction(images.targets, cfg.val_fraction or DIGITS_VAL, cfg.split_seed or 0)
    return images.select(train), images.select(val)


def dataset_entry(name: str) -> DatasetEntry:
    """That of a name of ``DATASETS``, or of a function of the user's."""
    return _CUSTOM if is_function(name) else DATASETS[name]


_ROOT = {"root": "the folder of its images, data.root=<folder>"}
_SPLIT = ("val_fraction", "split_seed")
_OWN = ("factory", "options")
_FOLDER = DatasetEntry(folder_sources, _ROOT, unused=("download", *_OWN))
_CUSTOM = DatasetEntry(custom_sources, unused=(*_SPLIT, "download"))


def _downloaded(name: str) -> DatasetEntry:
    unused = (*_OWN, *(_SPLIT[:1] if name == "caltech101" else _SPLIT))
    offered = DOWNLOADS[name].offered
    return DatasetEntry(partial(downloaded_sources, name), _ROOT, unused if offered else (*unused, "download"))


DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(digits, unused=("root", "download", *_OWN)),
    **{name: _downloaded(name) for name in DOWNLOADS},
    **dict.fromkeys(("imagenet", "eurosat", "birdsnap", "imagefolder"), _FOLDER),
}
