"""Compound scaling as plain arithmetic: how much deeper, wider and larger, and what that rounds to.

Papers: EfficientNet (https://arxiv.org/abs/1905.11946), EfficientNetV2 (https://arxiv.org/abs/2104.00298).
"""

from __future__ import annotations

import math

from timm.layers import make_divisible

__all__ = ["round_filters", "round_repeats"]


def round_filters(filters: int, width: float, divisor: int = 8, limit: float = 0.9) -> int:
    """Channels of a layer ``width`` times as wide: the nearest multiple of ``divisor``, at least one.

    Where rounding would take more than 10 % away (``limit=0.9``) it goes up instead, as in the authors' EfficientNet
    (https://github.com/tensorflow/tpu). Their EfficientNetV2 (https://github.com/google/automl) has no such rule:
    ``limit=0``.
    """
    return make_divisible(filters * width, divisor, round_limit=limit)


def round_repeats(repeats: int, depth: float) -> int:
    """Blocks of a stage ``depth`` times as deep, rounded up."""
    return math.ceil(repeats * depth)
