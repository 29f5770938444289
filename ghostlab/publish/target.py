"""A run's network as timm builds it: without branches, with its batch norms, and of timm's own where timm has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from ghostlab.errors import RunError
from ghostlab.models import create_model
from ghostlab.models.factory import OWN
from ghostlab.models.options import model_arguments
from ghostlab.models.registration import ANY
from ghostlab.models.scalable import RESNETS
from ghostlab.modules import is_function
from ghostlab.training.pretrained import start_from

__all__ = ["TimmNetwork", "largest_difference", "open_saved", "save_for_timm", "timm_network"]

WITHOUT_BRANCHES = {"ghostnetv3": "ghostnetv2"}
"""Architectures with branches, and the ones that are left when these are merged."""

TIMM_SERIES = {"ghostnetv1": "ghostnet", "ghostnetv2": "ghostnetv2"}
"""What timm calls them, before the width in percent."""

TIMM_DEFAULTS = {"depth": 1, "stem_stride": 2, "gate_upsample": "nearest", "global_pool": "avg"}
"""Options of ours with the values that timm's GhostNets have built in."""

NOT_ARCHITECTURE = ("name", "pretrained", "width", "drop_rate", "drop_path_rate", "bn_momentum")
"""Options that make no difference to the network, or are told in another way."""

KEPT_CONFIG = (
    *("architecture", "input_size", "fixed_input_size", "pool_size"),
    *("first_conv", "classifier", "num_classes"),
)
"""What of a model's default configuration is still true of other weights."""


class TimmNetwork(NamedTuple):
    """A model that ``timm.create_model(architecture)`` builds, if ``own`` only after ``import ghostlab.models``."""

    model: nn.Module
    architecture: str
    own: bool


def timm_network(run: Path, config: Mapping[str, Any], images: Tensor) -> TimmNetwork:
    """The network of ``run`` with its weights; branches are merged on ``images`` (B, 3, H, W).

    Raises ``RunError`` for a network that a function of the user's makes, and as ``start_from`` does.
    """
    node = model_arguments(config["model"])
    if is_function(node["name"]):
        raise RunError(f"model '{node['name']}': timm cannot open a network of your own; export the run instead")
    options = {**node, "name": WITHOUT_BRANCHES.get(node["name"], node["name"]), "pretrained": False}
    model = _build(options, config["data"]["num_classes"])
    start_from(model, run, options, images=lambda: images)
    settings: Any = model.pretrained_cfg
    model.pretrained_cfg = {key: settings[key] for key in KEPT_CONFIG if settings.get(key) is not None}  # type: ignore[assignment]
    architecture = str(settings["architecture"])
    return TimmNetwork(model.eval(), architecture, architecture.startswith("ghostlab_"))


def save_for_timm(
    target: TimmNetwork, folder: Path, preprocessing: Mapping[str, Any], names: list[str], licence: str
) -> None:
    """Write ``config.json`` and ``model.safetensors`` as timm does; ``names`` are those of the classes."""
    more = {"label_names": names, "pretrained_cfg": {"license": licence}}
    data = {key: tuple(value) if isinstance(value, list) else value for key, value in preprocessing.items()}
    timm.models.save_for_hf(target.model, str(folder), model_config=more, data_config=data, safe_serialization=True)


def open_saved(folder: Path) -> nn.Module:
    """What timm makes of ``folder``, in evaluation mode; nothing is fetched."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


@torch.no_grad()
def largest_difference(one: nn.Module, other: nn.Module, images: Tensor) -> float:
    """Between the outputs of two models on ``images``, relative to the largest output."""
    expected, found = one(images), other(images)
    return float((expected - found).abs().max() / expected.abs().max())


def _build(options: dict[str, Any], classes: int) -> nn.Module:
    if known := _ghostnet_of_timm(options):
        return timm.create_model(known, num_classes=classes)
    if options["name"] in OWN or not _beyond_timm(options):
        return create_model(**options, num_classes=classes)
    rest = {key: value for key, value in options.items() if key not in ("name", "pretrained")}
    return timm.create_model(ANY, base=options["name"], num_classes=classes, **rest)


def _ghostnet_of_timm(options: Mapping[str, Any]) -> str:
    """The name of timm's own GhostNet with these options, empty where there is none."""
    rest = {key: value for key, value in options.items() if key not in NOT_ARCHITECTURE}
    name = f"{TIMM_SERIES.get(options['name'])}_{100 * options.get('width', 1.0):03g}"
    return name if timm.is_model(name) and all(TIMM_DEFAULTS.get(key) == value for key, value in rest.items()) else ""


def _beyond_timm(options: Mapping[str, Any]) -> bool:
    """Whether timm's model has no option for one of ours; a ResNet has some for its channels and blocks."""
    scaled = any(options.get(key, 1) != 1 for key in ("width", "depth")) and options["name"] not in RESNETS
    return scaled or options.get("stem_stride", 2) != 2
