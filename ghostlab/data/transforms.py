"""From a decoded image to a normalised tensor: crops and flips, then what strategies add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from ghostlab.data.config import DataConfig

__all__ = ["Compose", "Normalize", "View", "eval_transform", "preprocess", "train_transform"]

Transform = Callable[[Any], Any]
MAX_ASPECT = 16


@dataclass(frozen=True)
class View:
    """What training images are made into: their side in pixels (None: that of the configuration), and what is done to
    the cropped image and to the normalised tensor."""

    image_size: int | None = None
    image_transforms: Sequence[Transform] = ()
    tensor_transforms: Sequence[Transform] = ()


class Compose:
    """Transforms applied one after the other."""

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value


class Normalize:
    """RGB image -> float32 (3, H, W), ``(pixel / 255 - mean) / std`` for each colour."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        deviations = np.asarray(std)
        self.scale = (1 / (255 * deviations)).astype(np.float32)
        self.shift = (np.asarray(mean) / deviations).astype(np.float32)

    def __call__(self, image: Image.Image) -> Tensor:
        pixels = np.asarray(image) * self.scale - self.shift
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def trim_aspect(image: Image.Image) -> Image.Image:
    """The central part of an image that is more than 16 times as long as it is wide: only a part of it is wanted, and
    all of it would be gigabytes when its width is scaled to that of the network's images."""
    most = MAX_ASPECT * min(image.size)
    if max(image.size) <= most:
        return image
    return v2.functional.center_crop(image, [min(image.height, most), min(image.width, most)])


def train_transform(cfg: DataConfig, view: View | None = None) -> Compose:
    """Random crop and flip, the view's ``image_transforms`` (image -> image), normalisation, and its
    ``tensor_transforms`` on (3, ``image_size``, ``image_size``)."""
    view = view or View()
    cfg = resize_config(cfg, view.image_size or cfg.image_size)
    flip = [v2.RandomHorizontalFlip()] if cfg.flip else []
    return Compose(*_crop(cfg), *flip, *view.image_transforms, Normalize(cfg.mean, cfg.std), *view.tensor_transforms)


def resize_config(cfg: DataConfig, image_size: int) -> DataConfig:
    """The configuration for training images of another size, whose padding has the same share of it."""
    if image_size == cfg.image_size:
        return cfg
    return replace(cfg, image_size=image_size, crop_padding=round(cfg.crop_padding * image_size / cfg.image_size))


def eval_transform(cfg: DataConfig) -> Compose:
    """The central ``crop_pct`` of the image's shorter side, scaled to ``test_size``, normalised."""
    return preprocess(cfg.preprocessing())


def preprocess(how: Mapping[str, Any]) -> Compose:
    """The same from what ``DataConfig.preprocessing`` gives, which travels with a deployed network."""
    size = how["input_size"][-1]
    resize = v2.Resize(round(size / how["crop_pct"]), InterpolationMode(how["interpolation"]))
    return Compose(trim_aspect, resize, v2.CenterCrop(size), Normalize(how["mean"], how["std"]))


def _crop(cfg: DataConfig) -> list[Transform]:
    size, how = cfg.image_size, InterpolationMode(cfg.interpolation)
    if cfg.crop == "resized":
        return [v2.RandomResizedCrop(size, (cfg.crop_scale, 1.0), interpolation=how)]
    if cfg.crop == "padded":
        return [trim_aspect, v2.Resize(size, how), v2.RandomCrop(size, padding=cfg.crop_padding)]
    return [trim_aspect, v2.Resize(size, how), v2.CenterCrop(size)]
