"""Any network of ``create_model`` as a model of timm's, for those that timm itself has no options for."""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, load_pretrained, register_model, resolve_pretrained_cfg
from torch import nn

from ghostlab.models import registration

__all__ = ["ghostlab_network"]

BASE = "ghostnetv2"
LOADING = ("cache_dir", "pretrained_model_args")
"""What timm hands to every function that builds a model and is not about its architecture."""

default_cfgs = generate_default_cfgs({"ghostlab_network": registration.settings()})
"""That of ``BASE``; a model of another base has that one's."""


@register_model
def ghostlab_network(
    pretrained: bool = False,
    base: str = BASE,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """``create_model(base, **options)``: a MobileNetV1 of width 0.25, a ResNet with a stem of stride 1.

    ``pretrained`` loads what a folder of ``tools/publish.py`` holds, which timm finds by its address.
    """
    from ghostlab.models.factory import create_model  # which imports this file

    model: Any = create_model(base, **{key: value for key, value in options.items() if key not in LOADING})
    own = {**model.pretrained_cfg, "architecture": ghostlab_network.__name__}
    known = resolve_pretrained_cfg(own["architecture"], pretrained_cfg or own, pretrained_cfg_overlay)
    model.default_cfg = model.pretrained_cfg = known.to_dict()
    if pretrained_cfg_overlay:
        registration.state_pool_size(model)
    if pretrained:
        load_pretrained(model, num_classes=model.num_classes, in_chans=options.get("in_chans", 3))
    return model
