"""The images of a data set, by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ghostlab.data.config import DataConfig
from ghostlab.data.custom import custom_sources
from ghostlab.data.downloads import DOWNLOADS, downloaded_sources
from ghostlab.data.folder import folder_sources
from ghostlab.data.sources import MemorySource, Source
from ghostlab.data.split import split_fraction
from ghostlab.errors import UsageError
from ghostlab.modules import is_function

__all__ = ["BUILDERS", "build", "builder"]

Builder = Callable[[DataConfig], tuple[Source, Source]]
DIGITS_VAL = 0.2


def build(cfg: DataConfig) -> tuple[Source, Source]:
    """The training and validation images of a configuration; raises ``UsageError`` and ``RunError``."""
    train, val = builder(cfg.name)(cfg)
    classes = len(train.class_names)
    if cfg.num_classes not in (None, classes):
        raise UsageError(f"data.num_classes={cfg.num_classes}: data={cfg.name} has {classes} classes; null counts them")
    return train, val


def digits(cfg: DataConfig) -> tuple[MemorySource, MemorySource]:
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels, which come with scikit-learn (Alpaydin and
    Kaynak, 1998, UCI machine learning repository), split class by class."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    images = MemorySource(pixels, data.target.astype(np.int64), [str(name) for name in data.target_names])
    train, val = split_fraction(images.targets, cfg.val_fraction or DIGITS_VAL, cfg.split_seed or 0)
    return images.select(train), images.select(val)


BUILDERS: dict[str, Builder] = {
    "digits": digits,
    **{name: partial(downloaded_sources, name) for name in DOWNLOADS},
    **dict.fromkeys(("imagenet", "eurosat", "birdsnap", "imagefolder"), folder_sources),
}


def builder(name: str) -> Builder:
    """What makes the images of a name in ``DATASETS``, or of a function of the user's."""
    return custom_sources if is_function(name) else BUILDERS[name]
