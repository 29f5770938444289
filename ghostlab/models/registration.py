"""The GhostNets as timm models, such as ``timm.create_model("ghostlab_ghostnetv2")``, and any other network as one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    load_pretrained,
    register_model,
    resolve_pretrained_cfg,
)
from torch import nn

from ghostlab.models.ghostnet import GhostNet
from ghostlab.reparam import reparameterize

__all__ = ["ANY", "NAMES", "state_pool_size"]

NAMES = ("ghostlab_ghostnetv1", "ghostlab_ghostnetv2", "ghostlab_ghostnetv3")
ANY = "ghostlab_network"
"""The model of timm's registry that is any network of ``create_model``, named by its option ``base``."""

LOADING = ("cache_dir", "pretrained_model_args")
"""What timm hands to every function that builds a model and is not about its architecture."""


def ghostnet_cfg() -> dict[str, Any]:
    """How images are prepared for a GhostNet, and the names of its first and last layer, as timm asks."""
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }


# register_model finds a model's configuration here, under the name of its function. That of ANY is for its usual base.
default_cfgs = generate_default_cfgs({name: ghostnet_cfg() for name in (*NAMES, ANY)})


@register_model
def ghostlab_ghostnetv1(pretrained: bool = False, **options: Any) -> nn.Module:
    """GhostNet V1 (https://arxiv.org/abs/1911.11907): Ghost modules, no attention and so no ``gate_upsample``."""
    return _build("ghostlab_ghostnetv1", _v1, pretrained, **options)


@register_model
def ghostlab_ghostnetv2(pretrained: bool = False, **options: Any) -> nn.Module:
    """GhostNet V2 (https://arxiv.org/abs/2211.12905): V1 with an attention gate in 14 of its 16 blocks."""
    return _build("ghostlab_ghostnetv2", _v2, pretrained, **options)


@register_model
def ghostlab_ghostnetv3(pretrained: bool = False, **options: Any) -> nn.Module:
    """GhostNet V3 (https://arxiv.org/abs/2404.11202) as it is trained: V2 with the authors' 3 branches."""
    return _build("ghostlab_ghostnetv3", _v3, pretrained, **options)


@register_model
def ghostlab_network(
    pretrained: bool = False,
    base: str = "ghostnetv2",
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """``create_model(base, **options)``: a MobileNetV1 of width 0.25, a ResNet with a stem of stride 1.

    ``pretrained`` loads what a folder of ``tools/publish.py`` holds, which timm finds by its address.
    """
    from ghostlab.models.factory import create_model  # which imports this file

    model: Any = create_model(base, **{key: value for key, value in options.items() if key not in LOADING})
    own = {**model.pretrained_cfg, "architecture": ANY}
    known = resolve_pretrained_cfg(ANY, pretrained_cfg or own, pretrained_cfg_overlay)
    model.default_cfg = model.pretrained_cfg = known.to_dict()
    if pretrained_cfg_overlay:
        state_pool_size(model)
    if pretrained:
        load_pretrained(model, num_classes=model.num_classes, in_chans=options.get("in_chans", 3))
    return model


def state_pool_size(model: nn.Module) -> None:
    """Let the configuration of ``model`` state the size of its last map for images of the size stated there."""
    known, levels = getattr(model, "pretrained_cfg", {}), getattr(model, "feature_info", None)
    if "pool_size" in known and levels:
        known["pool_size"] = tuple(-(-side // levels[-1]["reduction"]) for side in known["input_size"][1:])


def _build(
    name: str,
    make: Callable[..., GhostNet],
    pretrained: bool,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> nn.Module:
    """As timm builds its own: ``features_only`` and the like are its work; ``device`` and ``dtype`` as there."""
    with torch.device(device) if device else nullcontext():
        model = build_model_with_cfg(make, name, pretrained, feature_cfg={"flatten_sequential": True}, **options)
    state_pool_size(model)
    return model.to(dtype=dtype)


def _v1(**options: Any) -> GhostNet:
    if "gate_upsample" in options:
        raise TypeError("GhostNet V1 got an unexpected keyword argument 'gate_upsample'")
    return GhostNet(attention=False, **options)


def _v2(**options: Any) -> GhostNet:
    return GhostNet(attention=True, **options)


def _v3(**options: Any) -> GhostNet:
    model = _v2(**options)
    reparameterize(model, branches=3)
    return model
