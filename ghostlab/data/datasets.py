"""The images of a data set by its name: digits, sets that torchvision knows, folders, functions of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ghostlab.data.config import DATASETS, DataConfig
from ghostlab.data.custom import custom_sources
from ghostlab.data.folder import folder_sources
from ghostlab.data.sources import FileSource, MemorySource, Source
from ghostlab.data.split import split_fraction, split_per_class
from ghostlab.errors import RunError, UsageError
from ghostlab.modules import is_function
from ghostlab.private_apis import digits_table, pets

__all__ = ["BUILDERS", "DOWNLOADS", "build", "builder", "downloaded_sources"]

Pair = tuple[Source, Source]
Builder = Callable[[DataConfig], Pair]

DIGITS_VAL = 0.2
CALTECH_URL = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
CARS = (
    "devkit/cars_meta.mat",
    "devkit/cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
    "cars_train/",
    "cars_test/",
)
CALTECH_TRAIN = 30
"""Training images a class (Fei-Fei, Fergus and Perona, 2004)."""


def build(cfg: DataConfig) -> Pair:
    """The training and validation images of a configuration; raises ``UsageError`` and ``RunError``."""
    train, val = builder(cfg.name)(cfg)
    classes = len(train.class_names)
    if cfg.num_classes not in (None, classes):
        raise UsageError(f"data.num_classes={cfg.num_classes}: data={cfg.name} has {classes} classes; null counts them")
    return train, val


def _digits(cfg: DataConfig) -> Pair:
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels, which come with scikit-learn (Alpaydin and
    Kaynak, 1998, UCI machine learning repository), split class by class."""
    table = digits_table()
    pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = MemorySource(pixels, table[:, -1].astype(np.int64), [str(digit) for digit in range(10)])
    train, val = split_fraction(images.targets, cfg.val_fraction or DIGITS_VAL, cfg.split_seed or 0)
    return images.select(train), images.select(val)


def builder(name: str) -> Builder:
    """What makes the images of a name in ``DATASETS``, or of a function of the user's."""
    return custom_sources if is_function(name) else BUILDERS[name]


@dataclass(frozen=True)
class Download:
    """How to read one data set below ``data.root``, and what it is made of.

    ``read(cls, cfg, download)`` gets the class ``cls`` of ``torchvision.datasets`` and returns training and validation
    images; ``files(cls)`` names what to put into ``folder`` below the root when it cannot be downloaded.
    """

    cls: str
    read: Callable[[Any, DataConfig, bool], Pair]
    files: Callable[[Any], Sequence[str]]
    folder: str = "."


def downloaded_sources(name: str, cfg: DataConfig) -> Pair:
    """Training and validation images of the data set ``name`` below ``data.root``.

    Raises ``RunError`` saying which file to put where when the data is absent and cannot be downloaded.
    """
    from torchvision import datasets

    known, root = DOWNLOADS[name], _root(cfg)
    cls = getattr(datasets, known.cls)
    try:
        return known.read(cls, cfg, False)
    except Exception as error:  # torchvision tells an absent set from a damaged one by the text only
        reason = f"not usable in {root}: {_one_line(error)}"
    if cfg.download:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{name}.lock"):
                return known.read(cls, cfg, True)
        except Exception as error:
            reason = f"cannot be downloaded: {_one_line(error)}"
    way = f"put {', '.join(known.files(cls))} into {(root / known.folder).resolve()}"
    unpack = " and use data.download=true, which unpacks it" if "download" not in DATASETS[name].unused else ""
    raise RunError(f"data={name}: {reason}; {way}{unpack}")


def _root(cfg: DataConfig) -> Path:
    return Path(str(cfg.root)).expanduser()


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".partition(". You can use download=True")[0]
    return " ".join(text.split()).rstrip(".")


def _labels(values: Any) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def _arrays(cls: Any, cfg: DataConfig, download: bool) -> Pair:
    """Sets that torchvision reads into one array."""

    def half(train: bool) -> MemorySource:
        data = cls(_root(cfg), train=train, download=download)
        return MemorySource(np.asarray(data.data, dtype=np.uint8), _labels(data.targets), list(data.classes))

    return half(True), half(False)


def _files(train_splits: Sequence[str], cls: Any, cfg: DataConfig, download: bool) -> Pair:
    """Sets of files with named splits, of which ``test`` validates."""

    def half(*splits: str) -> FileSource:
        parts = [cls(_root(cfg), split=split, download=download, loader=str) for split in splits]
        pairs = [part[i] for part in parts for i in range(len(part))]
        return FileSource([path for path, _ in pairs], _labels([label for _, label in pairs]), list(parts[0].classes))

    return half(*train_splits), half("test")


def _pets(cls: Any, cfg: DataConfig, download: bool) -> Pair:
    def half(split: str) -> FileSource:
        data = cls(_root(cfg), split=split, download=download)
        paths, labels = pets(data)
        return FileSource(paths, _labels(labels), data.classes)

    return half("trainval"), half("test")


def _caltech(cls: Any, cfg: DataConfig, download: bool) -> Pair:
    data = cls(_root(cfg), download=download)
    images = Path(data.root) / "101_ObjectCategories"
    names = (f"{data.categories[y]}/image_{number:04d}.jpg" for y, number in zip(data.y, data.index, strict=True))
    source = FileSource([str(images / name) for name in names], _labels(data.y), data.categories)
    train, val = split_per_class(source.targets, CALTECH_TRAIN, cfg.split_seed or 0)
    return source.select(train), source.select(val)


def _one_url(cls: Any) -> Sequence[str]:
    return [cls.url if hasattr(cls, "url") else cls._URL]


DOWNLOADS: dict[str, Download] = {
    "cifar10": Download("CIFAR10", _arrays, _one_url),
    "cifar100": Download("CIFAR100", _arrays, _one_url),
    "fashionmnist": Download(
        "FashionMNIST", _arrays, lambda cls: [cls.mirrors[0] + name for name, _ in cls.resources], "FashionMNIST/raw"
    ),
    "flowers102": Download(
        "Flowers102",
        partial(_files, ["train", "val"]),
        lambda cls: [cls._download_url_prefix + name for name, _ in cls._file_dict.values()],
        "flowers-102",
    ),
    "food101": Download("Food101", partial(_files, ["train"]), _one_url),
    "stanfordcars": Download("StanfordCars", partial(_files, ["train"]), lambda _: CARS, "stanford_cars"),
    "fgvcaircraft": Download("FGVCAircraft", partial(_files, ["trainval"]), _one_url),
    "oxfordpets": Download("OxfordIIITPet", _pets, lambda cls: [url for url, _ in cls._RESOURCES], "oxford-iiit-pet"),
    "caltech101": Download("Caltech101", _caltech, lambda _: [CALTECH_URL], "caltech101"),
}

BUILDERS: dict[str, Builder] = {
    "digits": _digits,
    **{name: partial(downloaded_sources, name) for name in DOWNLOADS},
    **dict.fromkeys(("imagenet", "eurosat", "birdsnap", "imagefolder"), folder_sources),
}
