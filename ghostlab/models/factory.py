"""Models by name: the GhostNets of this package, every model of timm, and functions of the user's."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import nn

from ghostlab.errors import RunError, UsageError, nearest, unknown
from ghostlab.models import fused_mbconv, registration
from ghostlab.models.ghostnet import GhostNet
from ghostlab.models.options import check_options
from ghostlab.models.scalable import SCALABLE
from ghostlab.models.weights import load_weights
from ghostlab.modules import function, is_function
from ghostlab.reparam import deployed, fuse

__all__ = ["OWN", "create_model"]

OWN = tuple(name.removeprefix("ghostlab_") for name in registration.NAMES)
"""The names of this package's models."""

ALIASES = {
    "mobilenetv1": "mobilenetv1_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv3": "mobilenetv3_large_100",
    **{f"efficientnetv2_b{i}": f"tf_efficientnetv2_b{i}" for i in range(4)},
    **{name.removeprefix("ghostlab_"): name for name in fused_mbconv.NAMES},
}
"""Names of papers, and the models that timm knows by other names."""

LAYOUTS = ("training", "deployed")
CHECKED = ("drop_rate", "drop_path_rate", "bn_momentum", "bn_eps", "width", "depth")
"""Options of timm's models that this package checks, as timm does not."""
UNKNOWN = re.compile(r"keyword argument(?:\(s\):)? \[?'(\w+)'")
"""How Python and some of timm's models name an option that they do not know."""
USUAL = ("num_classes", "in_chans", "pretrained", "stem_stride", *CHECKED)
"""Options that are right, or are said to be wrong before a model is built."""

PUBLISHED = {
    ("ghostnetv1", 1.0): "ghostnet_100",
    ("ghostnetv2", 1.0): "ghostnetv2_100",
    ("ghostnetv2", 1.3): "ghostnetv2_130",
    ("ghostnetv2", 1.6): "ghostnetv2_160",
    ("ghostnetv3", 1.0): "ghostnetv3_100",
}
"""The timm model that holds the authors' weights, for each own model and width that has any."""


def create_model(
    name: str,
    num_classes: int = 1000,
    in_chans: int = 3,
    pretrained: bool = False,
    stem_stride: int = 2,
    layout: str = "training",
    **options: Any,
) -> nn.Module:
    """The model of that name: "ghostnetv1", "ghostnetv2", "ghostnetv3", one of ``ALIASES``, or any name of timm; with a
    colon, as in "my_project.nets:tiny", what that function makes.

    ``width`` and ``depth`` multiply the channels and the blocks of the named model; GhostNets and the models of
    ``SCALABLE`` take them. Other options (``drop_rate``, ``gate_upsample``, ...) go to the model unless they are None.
    ``stem_stride=1`` lets the first convolution keep the resolution, for small images. ``pretrained`` fetches ImageNet
    weights through timm. ``layout="deployed"`` builds the model as ``ghostlab.fuse`` leaves it, without branches and
    batch norms, so that it takes the state dict of a fused one; "training" is the layout that it is trained in.
    Raises ``UsageError`` for an unknown name and for an option or a value that the model does not take, ``RunError``
    when weights cannot be fetched and when a model has nothing to fold.

        >>> import ghostlab, torch
        >>> model = ghostlab.create_model("ghostnetv2", num_classes=10, width=0.35).eval()
        >>> model(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 10])
    """
    if layout not in LAYOUTS:
        raise UsageError(f"layout={layout}: {unknown('layout', str(layout), LAYOUTS)}")
    model = _in_training_layout(name, num_classes, in_chans, pretrained, stem_stride, options)
    if layout == "training":
        return model
    return fuse(model)[0] if pretrained else deployed(model)


def _in_training_layout(
    name: str, num_classes: int, in_chans: int, pretrained: bool, stem_stride: int, options: dict[str, Any]
) -> nn.Module:
    options = {key: value for key, value in options.items() if value is not None}
    checked = {key: options[key] for key in CHECKED if key in options}
    check_options(pretrained=pretrained, num_classes=num_classes, in_chans=in_chans, stem_stride=stem_stride, **checked)
    options |= {"num_classes": num_classes, "in_chans": in_chans}
    if is_function(name):
        if pretrained:
            raise UsageError(f"pretrained=True: model '{name}' is your own; name a run folder or a checkpoint")
        return _create(name, options, lambda: _custom(name, options))
    if name in OWN:
        model = _build(name, f"ghostlab_{name}", {**options, "stem_stride": stem_stride})
        return _load_published(model, name, options) if pretrained else model
    timm_name = ALIASES.get(name, name)
    _require_known(timm_name, pretrained)
    factors = {key: factor for key in ("width", "depth") if (factor := options.pop(key, 1.0)) != 1}
    if factors:
        model = _scaled(name, timm_name, factors, pretrained, options)
    else:
        model = _fetch(timm_name, options) if pretrained else _build(name, timm_name, options)
    return _keep_resolution(model, name) if stem_stride == 1 else model


def _custom(name: str, options: dict[str, Any]) -> nn.Module:
    """What the function ``name`` of the user's makes of ``options``, ``num_classes`` and ``in_chans`` among them."""
    model = function(name, "model.factory", ("num_classes", "in_chans"))(**options)
    if not isinstance(model, nn.Module):
        raise UsageError(f"model '{name}': it makes a {type(model).__name__}, not a torch.nn.Module")
    return model


def _scaled(
    name: str, timm_name: str, factors: dict[str, float], pretrained: bool, options: dict[str, Any]
) -> nn.Module:
    key, factor = next(iter(factors.items()))
    scalable = SCALABLE.get(timm_name.partition(".")[0])
    if scalable is None:
        raise UsageError(
            f"{key}={factor}: model '{name}' cannot be scaled; allowed: ghostnetv1, ghostnetv2, ghostnetv3,"
            " EfficientNets, MobileNetV1 and V2, ResNets"
        )
    if pretrained:
        raise UsageError(f"pretrained=True: there are no weights of '{name}' for {key} {factor}, only for 1")
    width, depth = (factors.get(key, 1.0) for key in ("width", "depth"))
    return _create(name, options, lambda: scalable.scaled(timm_name, width, depth, **options))


def _build(name: str, timm_name: str, options: dict[str, Any]) -> nn.Module:
    return _create(name, options, lambda: timm.create_model(timm_name, **options))


def _create(name: str, options: dict[str, Any], build: Callable[[], nn.Module]) -> nn.Module:
    try:
        model = build()
    except UsageError:
        raise
    except Exception as error:  # timm checks little of what it is given
        refused = UNKNOWN.search(str(error)) if isinstance(error, TypeError) else None
        if refused:
            known = inspect.signature(GhostNet).parameters if name in OWN else ()
            raise UsageError(f"model '{name}' takes no option '{refused[1]}'{nearest(refused[1], known)}") from error
        given = ", ".join(f"{key}={value}" for key, value in options.items() if key not in USUAL)
        if not given or options.get("pretrained"):
            raise
        cause = " ".join(str(error).split())[:120] or type(error).__name__
        raise UsageError(f"model '{name}' cannot be built with {given}: {cause}") from error
    stated: Any = getattr(model, "pretrained_cfg", None) or {}
    if isinstance(size := options.get("img_size"), int) and "input_size" in stated:
        stated["input_size"] = (stated["input_size"][0], size, size)
    return model


def _require_known(name: str, pretrained: bool) -> None:
    if not timm.is_model(name):
        known = timm.list_models()
        hint = nearest(name, [*OWN, *ALIASES, *known]) or ";"
        raise UsageError(f"no model '{name}'{hint} available: {', '.join(OWN)} and timm's {len(known)} models")
    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # the tag after the dot
        raise UsageError(f"model '{name}': {error}") from error
    if pretrained and not timm.models.is_model_pretrained(name):
        raise UsageError(f"pretrained=True: timm has no weights for model '{name}'")


def _fetch(name: str, options: dict[str, Any]) -> nn.Module:
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)  # it reports every attempt; the error below says it once
    try:
        return _build(name, name, {**options, "pretrained": True})
    except UsageError:
        raise
    except Exception as error:  # whatever the network, the cache and the hub's client may raise
        with torch.device("meta"):
            _build(name, name, options)  # which says so if it is an option
        cause = str(error).strip().partition("\n")[0]
        raise RunError(f"cannot fetch the pretrained weights of '{name}': {cause}") from error
    finally:
        hub.setLevel(level)


def _load_published(model: nn.Module, name: str, options: dict[str, Any]) -> nn.Module:
    """Load the authors' weights in timm's copy: its graph is the same and its keys are read by ``load_weights``."""
    width, depth = (options.get(key, 1.0) for key in ("width", "depth"))
    if depth != 1:
        raise UsageError(f"pretrained=True: there are no weights of {name} for depth {depth}, only for 1")
    if (name, width) not in PUBLISHED:
        widths = ", ".join(str(w) for known, w in PUBLISHED if known == name)
        raise UsageError(f"pretrained=True: weights of {name} are published for width {widths}, not for width {width}")
    published = _fetch(PUBLISHED[name, width], {"in_chans": options["in_chans"]})
    return load_weights(model, published.state_dict())


def _keep_resolution(model: nn.Module, name: str) -> nn.Module:
    conv = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None or conv.stride != (2, 2):
        why = f"model '{name}' does not begin with a convolution of stride 2"
        raise UsageError(f"stem_stride=1: {why}; data.stem_stride=2 leaves it as it is")
    conv.stride = (1, 1)
    for level in getattr(model, "feature_info", None) or ():
        level["reduction"] //= 2
    registration.state_pool_size(model)
    return model
