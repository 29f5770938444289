"""Any network of ``create_model`` as a model of timm's, for those that timm itself has no options for."""

from __future__ import annotations

from typing import Any

from timm.models import load_pretrained, register_model, resolve_pretrained_cfg
from torch import nn

__all__ = ["ghostlab_network"]

LOADING = ("cache_dir", "pretrained_cfg_overlay", "pretrained_model_args")
"""What timm hands to every function that builds a model and is not about its architecture."""


@register_model
def ghostlab_network(
    pretrained: bool = False, base: str = "ghostnetv2", pretrained_cfg: Any = None, **options: Any
) -> nn.Module:
    """``create_model(base, **options)``: a MobileNetV1 of width 0.25, a ResNet with a stem of stride 1.

    ``pretrained`` loads what a folder of ``tools/publish.py`` holds, which timm finds by its address.
    """
    from ghostlab.models.factory import create_model  # which imports this file

    model: Any = create_model(base, **{key: value for key, value in options.items() if key not in LOADING})
    own = {**model.pretrained_cfg, "architecture": ghostlab_network.__name__}
    model.pretrained_cfg = resolve_pretrained_cfg(own["architecture"], pretrained_cfg or own).to_dict()
    if pretrained:
        load_pretrained(model, num_classes=model.num_classes, in_chans=options.get("in_chans", 3))
    return model
