"""Models of timm made wider and deeper: those of the families that timm itself builds for any factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm
from timm.models import efficientnet as generators
from torch import nn

from ghostlab.models import fused_mbconv
from ghostlab.models.fused_mbconv import B4
from ghostlab.models.scaling import OFFICIAL, round_filters, round_repeats
from ghostlab.private_apis import (
    gen_efficientnet,
    gen_efficientnetv2_base,
    gen_efficientnetv2_l,
    gen_efficientnetv2_m,
    gen_efficientnetv2_s,
    gen_efficientnetv2_xl,
    gen_mobilenet_v1,
    gen_mobilenet_v2,
)

__all__ = ["SCALABLE"]

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


def _resnet(layers: tuple[int, ...], name: str, width: float, depth: float, **options: Any) -> nn.Module:
    """A ResNet with its stem as it is: scaled are the four stages, which is where almost all of it lies."""
    deep = [round_repeats(count, depth) for count in layers]
    wide = [round_filters(channels, width) for channels in (64, 128, 256, 512)]
    return timm.create_model(name, layers=deep, channels=wide, **options)


def _effnet(generate: Build, width: float = 1.0, depth: float = 1.0, **options: Any) -> Scalable:
    def build(name: str, width: float, depth: float, **options: Any) -> nn.Module:
        return generate(name, channel_multiplier=width, depth_multiplier=depth, **options)

    return Scalable(build, width, depth, options)


V1, V2 = gen_efficientnet, gen_efficientnetv2_base
V2_OFFICIAL = tuple(enumerate(OFFICIAL.values()))[:4]  # V2-B0 to B3 have the factors of B0 to B3
SIZES: dict[str, Build] = {
    "s": gen_efficientnetv2_s,
    "m": gen_efficientnetv2_m,
    "l": gen_efficientnetv2_l,
    "xl": gen_efficientnetv2_xl,
}
RESNETS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}

SCALABLE: dict[str, Scalable] = {
    **{name: _effnet(V1, own.width, own.depth) for name, own in OFFICIAL.items()},
    **{f"tf_{name}": _effnet(V1, own.width, own.depth, **TF_LAYERS) for name, own in OFFICIAL.items()},
    **{f"tf_efficientnetv2_b{i}": _effnet(V2, own.width, own.depth, **TF_LAYERS) for i, own in V2_OFFICIAL},
    **{name: _effnet(fused_mbconv.generate, B4.width, B4.depth) for name in fused_mbconv.NAMES},
    **{f"efficientnetv2_{size}": _effnet(generate) for size, generate in SIZES.items()},
    **{f"tf_efficientnetv2_{size}": _effnet(generate, **TF_LAYERS) for size, generate in SIZES.items()},
    "mobilenetv1_100": _effnet(gen_mobilenet_v1),
    "mobilenetv2_100": _effnet(gen_mobilenet_v2),
    **{name: Scalable(partial(_resnet, layers)) for name, layers in RESNETS.items()},
}
"""Timm's names of the models that can be scaled."""
