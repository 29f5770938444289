"""Models of timm made wider and deeper: those of the families that timm itself builds for any factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm
from timm.models import efficientnet as generators
from torch import nn

from ghostlab.models.scaling import round_filters, round_repeats

__all__ = ["SCALABLE", "Scalable"]

Build = Callable[..., nn.Module]
TF_LAYERS: dict[str, Any] = {"bn_eps": generators.BN_EPS_TF_DEFAULT, "pad_type": "same"}
"""What timm's ``tf_`` models have otherwise."""


@dataclass(frozen=True)
class Scalable:
    """How to build a model of timm's for other factors than its own ``width`` and ``depth``.

    ``build`` is called with the model's name, the product of both factors each, and the options.
    """

    build: Build
    width: float = 1.0
    depth: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def scaled(self, name: str, width: float, depth: float, **options: Any) -> nn.Module:
        """The model ``width`` times as wide and ``depth`` times as deep as the one called ``name``."""
        return self.build(name, _product(self.width, width), _product(self.depth, depth), **{**self.options, **options})


def _product(own: float, factor: float) -> float:
    """Without the noise of floats, which ``ceil`` would make a block: 1.1 * 1.1 is 1.21."""
    return round(own * factor, 9)


def _timm_generator(generate: Build, name: str, width: float, depth: float, **options: Any) -> nn.Module:
    return generate(name, channel_multiplier=width, depth_multiplier=depth, **options)


def _resnet(layers: tuple[int, ...], name: str, width: float, depth: float, **options: Any) -> nn.Module:
    """A ResNet with its stem as it is: scaled are the four stages, which is where almost all of it lies."""
    deep = [round_repeats(count, depth) for count in layers]
    wide = [round_filters(channels, width) for channels in (64, 128, 256, 512)]
    return timm.create_model(name, layers=deep, channels=wide, **options)


def _effnet(generate: Build, width: float = 1.0, depth: float = 1.0, **options: Any) -> Scalable:
    return Scalable(partial(_timm_generator, generate), width, depth, options)


# Width and depth of B0 to B7, then B8 (https://github.com/tensorflow/tpu, efficientnet_builder.py).
COEFFICIENTS = (
    (1.0, 1.0),
    (1.0, 1.1),
    (1.1, 1.2),
    (1.2, 1.4),
    (1.4, 1.8),
    (1.6, 2.2),
    (1.8, 2.6),
    (2.0, 3.1),
)
V1, V2 = generators._gen_efficientnet, generators._gen_efficientnetv2_base
SIZES: dict[str, Build] = {
    "s": generators._gen_efficientnetv2_s,
    "m": generators._gen_efficientnetv2_m,
    "l": generators._gen_efficientnetv2_l,
    "xl": generators._gen_efficientnetv2_xl,
}
RESNETS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}

SCALABLE: dict[str, Scalable] = {
    **{f"efficientnet_b{i}": _effnet(V1, w, d) for i, (w, d) in enumerate(COEFFICIENTS)},
    **{f"tf_efficientnet_b{i}": _effnet(V1, w, d, **TF_LAYERS) for i, (w, d) in enumerate(COEFFICIENTS)},
    **{f"tf_efficientnetv2_b{i}": _effnet(V2, w, d, **TF_LAYERS) for i, (w, d) in enumerate(COEFFICIENTS[:4])},
    **{f"efficientnetv2_{size}": _effnet(generate) for size, generate in SIZES.items()},
    **{f"tf_efficientnetv2_{size}": _effnet(generate, **TF_LAYERS) for size, generate in SIZES.items()},
    "mobilenetv1_100": _effnet(generators._gen_mobilenet_v1),
    "mobilenetv2_100": _effnet(generators._gen_mobilenet_v2),
    **{name: Scalable(partial(_resnet, layers)) for name, layers in RESNETS.items()},
}
"""Timm's names of the models that can be scaled."""
