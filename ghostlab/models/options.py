"""What the options of a model may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ghostlab.errors import UsageError

__all__ = ["ALLOWED", "WEIGHTS", "check_options", "model_arguments"]

ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "width": (lambda v: 0 < v < math.inf, "above 0 (GhostNets are published for 0.5, 1.0, 1.3, 1.6)"),
    "depth": (lambda v: 0 < v < math.inf, "above 0"),
    "num_classes": (lambda v: v >= 0, "0 or more"),
    "in_chans": (lambda v: v >= 1, "1 or more"),
    "drop_rate": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "drop_path_rate": (lambda v: 0 <= v < 1, "in [0, 1)"),
    "bn_momentum": (lambda v: 0 < v <= 1, "in (0, 1], the share of the new batch in the statistics"),
    "bn_eps": (lambda v: 0 < v < math.inf, "above 0"),
    "pretrained": (lambda v: isinstance(v, bool), "true or false, or in the configuration of a run a path"),
    "stem_stride": (lambda v: v in (1, 2), "1 or 2"),
    "gate_upsample": (lambda v: v in ("nearest", "bilinear"), "nearest or bilinear"),
    "global_pool": (lambda v: v in ("avg", "max", "avgmax", ""), "avg, max, avgmax or ''"),
}


WEIGHTS = ("pretrained", "checkpoint_path")
"""Options of a model that give it weights; the second is one of timm's."""

NOT_OPTIONS = ("native", "factory")
"""What a configuration says about a model besides: the image sizes it was designed for, and its name once more."""


def model_arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``create_model`` in the ``model`` node of a configuration: nothing that is null."""
    return {key: value for key, value in node.items() if value is not None and key not in NOT_OPTIONS}


def check_options(**options: Any) -> None:
    """Raise ``UsageError`` for the first option whose value is not allowed."""
    for key, value in options.items():
        allowed, description = ALLOWED[key]
        try:
            fine = allowed(value)
        except TypeError:
            fine = False
        if not fine:
            raise UsageError(f"{key}={value!r}: must be {description}")
