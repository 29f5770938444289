"""What RandAugment and AutoAugment share of timm's image operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from timm.data.auto_augment import AugmentOp

__all__ = ["keep_one_bit", "operation_options"]


def operation_options(image_size: int, mean: Sequence[float], std: float) -> dict[str, Any]:
    """What timm's operations need to know: the largest shift in pixels, the colour (RGB) of uncovered places, and the
    standard deviation of strengths.
    """
    return {
        "translate_const": int(image_size * 0.45),
        "img_mean": tuple(min(255, round(255 * channel)) for channel in mean),
        "magnitude_std": std,
    }


def keep_one_bit(operations: Sequence[AugmentOp]) -> None:
    """Let posterization keep at least 1 of 8 bits, in place.

    timm, like EfficientNet's code, may ask for 0 bits. That was a black image until Pillow 13, which raises an error.
    """
    for operation in operations:
        if operation.name.startswith("Posterize"):
            operation.level_fn = partial(_at_least_one, operation.level_fn)


def _at_least_one(bits: Callable[..., tuple[int]], level: float, options: dict[str, Any]) -> tuple[int]:
    return (max(1, bits(level, options)[0]),)
