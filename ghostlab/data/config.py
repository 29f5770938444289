"""What to train on, as checked settings: ``conf/data/<name>.yaml`` has a line for every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ghostlab.errors import UsageError, nearest, unknown
from ghostlab.modules import is_function

__all__ = ["DATASETS", "DataConfig", "TeacherConfig"]

CROPS = ("resized", "padded", "none")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
ON_ERROR = ("raise", "skip")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class UsedFields(NamedTuple):
    """Which fields of the configuration a data set needs, with the reason, and which it has no use for."""

    needs: Mapping[str, str]
    unused: Sequence[str]


_ROOT = {"root": "the folder of its images, data.root=<folder>"}
_SPLIT = ("val_fraction", "split_seed")
_FUNCTION = ("factory", "options")
_DOWNLOADED = UsedFields(_ROOT, (*_FUNCTION, *_SPLIT))
_FOLDER = UsedFields(_ROOT, ("download", *_FUNCTION))

DATASETS = {
    "digits": UsedFields({}, ("root", "download", *_FUNCTION)),
    **dict.fromkeys(("cifar10", "cifar100", "fashionmnist", "flowers102", "food101"), _DOWNLOADED),
    "stanfordcars": UsedFields(_ROOT, (*_FUNCTION, *_SPLIT, "download")),  # no longer offered
    **dict.fromkeys(("fgvcaircraft", "oxfordpets"), _DOWNLOADED),
    "caltech101": UsedFields(_ROOT, (*_FUNCTION, "val_fraction")),
    **dict.fromkeys(("imagenet", "eurosat", "birdsnap", "imagefolder"), _FOLDER),
}
"""The names of data sets; ``datasets.build`` makes their images."""

CUSTOM = UsedFields({}, (*_SPLIT, "download"))
"""Of a function of the user's."""


@dataclass
class TeacherConfig:
    """The run that trains this data set's teacher when a strategy needs one and none is given."""

    model: str
    """A name of ``conf/model``."""
    overrides: list[str] = field(default_factory=list)
    """What else differs from the defaults, as on the command line: ``trainer.max_epochs=30``."""


@dataclass
class DataConfig:
    """A data set and how its images become batches; raises ``UsageError`` naming ``data.<field>``."""

    name: str
    root: str | None = None
    """The images' folder, or where downloaded sets are kept; None for sets that need none."""
    image_size: int = 224
    """Side of the training images in pixels."""
    test_size: int | None = None
    """Side of the validation images in pixels; None: ``image_size``."""
    num_classes: int | None = None
    """None: counted in the folders."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop: str = "resized"
    """Training crop: ``resized`` (random area and aspect), ``padded`` (pad, then a random place) or ``none``."""
    crop_scale: float = 0.08
    """Smallest part of the image's area that ``crop=resized`` takes."""
    crop_padding: int = 4
    """Pixels that ``crop=padded`` adds on each side."""
    crop_pct: float = 0.875
    """Part of the shorter side that the central crop of validation keeps."""
    interpolation: str = "bicubic"
    flip: bool = True
    batch_size: int = 256
    eval_batch_size: int = 256
    workers: int | None = None
    """Loading processes, 0 for none besides the main one; None: one a core, at most 8."""
    decoded: str | None = None
    """Images in files are decoded once, for all runs, into a folder below this one; None: every time."""
    decoded_gib: float = 4.0
    """... where that takes up to so many GiB."""
    on_error: str = "raise"
    """An unreadable image stops the run (``raise``) or is left out and counted (``skip``)."""
    allow_leak: bool = False
    """A run that this one starts from, or its teacher, may have been trained on images that validate this one."""
    val_fraction: float | None = None
    """Part of each class that becomes the validation set where the data has none of its own."""
    split_seed: int | None = None
    """Seed of that split; the run's seed does not change it."""
    download: bool = False
    """Download what is absent, and unpack archives that are there."""
    stem_stride: int = 2
    """Stride that a model's stem should have: 1 suits images of up to 64 px."""
    teacher: TeacherConfig | None = None
    factory: str | None = None
    """Of ``data=custom``: the function that makes it, which is its name as well."""
    options: dict[str, Any] = field(default_factory=dict)
    """What that function takes besides ``root``."""

    def __post_init__(self) -> None:
        self.mean, self.std = tuple(map(float, self.mean)), tuple(map(float, self.std))
        if isinstance(self.teacher, dict):
            self.teacher = _teacher(self.teacher)
        self._check_choices()
        self._check_numbers()
        self._check_use()

    @property
    def resolved_test_size(self) -> int:
        """Side of the validation images in pixels."""
        return self.test_size or self.image_size

    @property
    def where(self) -> str:
        """How a command line names the images, such as ``data.root=<folder>``."""
        if self.root is not None:
            return f"data.root={self.root}"
        return f"data.factory={self.name}" if is_function(self.name) else f"data={self.name}"

    def preprocessing(self) -> dict[str, Any]:
        """What must be done to an image before the trained model sees it, as plain values."""
        return {
            "input_size": [3, self.resolved_test_size, self.resolved_test_size],
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
        }

    def _check_choices(self) -> None:
        names = [self.name] if is_function(self.name) else DATASETS
        choices = {"name": names, "crop": CROPS, "interpolation": INTERPOLATIONS, "on_error": ON_ERROR}
        for key, allowed in choices.items():
            value = getattr(self, key)
            if value not in allowed:
                raise UsageError(f"data.{key}={value}: {unknown('data set' if key == 'name' else key, value, allowed)}")

    def _check_numbers(self) -> None:
        for key in ("image_size", "batch_size", "eval_batch_size", "stem_stride"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "an integer >= 1")
        for key, least in {"test_size": 1, "num_classes": 2, "workers": 0}.items():
            value = getattr(self, key)
            _require(value is None or value >= least, key, value, f"null or an integer >= {least}")
        for key in ("crop_scale", "crop_pct"):
            _require(0 < getattr(self, key) <= 1, key, getattr(self, key), "above 0 and at most 1")
        # false would be a folder of that name
        named = self.decoded is None or str(self.decoded).lower() not in ("", "true", "false")
        _require(named, "decoded", self.decoded, "a folder, or null to decode every time")
        _require(self.decoded_gib > 0, "decoded_gib", self.decoded_gib, "GiB above 0")
        _require(self.crop_padding >= 0, "crop_padding", self.crop_padding, "pixels >= 0")
        _require(len(self.mean) == 3, "mean", self.mean, "three numbers, one a colour")
        _require(len(self.std) == 3 and min(self.std) > 0, "std", self.std, "three numbers above 0, one a colour")
        share = self.val_fraction
        _require(share is None or 0 < share < 1, "val_fraction", share, "above 0 and below 1")

    def _check_use(self) -> None:
        used = CUSTOM if is_function(self.name) else DATASETS[self.name]
        if is_function(self.name):
            _require(self.factory in (None, self.name), "factory", self.factory, f"data.name={self.name} is another")
        for key, why in used.needs.items():
            _require(getattr(self, key) is not None, key, None, f"data={self.name} needs it: {why}")
        for key in used.unused:
            value = getattr(self, key)
            unused = value is None or value is False or value == {}
            _require(unused, key, value, f"data={self.name} has no use for it; leave it null")


def _teacher(given: dict[str, Any]) -> TeacherConfig:
    known = [f.name for f in fields(TeacherConfig)]
    for key in given:
        if key not in known:
            raise UsageError(f"data.teacher.{key}: no such key{nearest(key, known)} available: {', '.join(known)}")
    return TeacherConfig(**given)


def _require(holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise UsageError(f"data.{key}={'null' if value is None else value}: {allowed}")
