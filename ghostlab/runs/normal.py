"""One way to write a value: two configurations that say the same are the same run."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

__all__ = ["flatten", "normalize"]


def normalize(value: Any) -> Any:
    """``1``, ``1.0`` and ``'1'`` are one number, ``data``, ``./data/`` and its absolute path one place."""
    if isinstance(value, (list, tuple)):
        return [normalize(one) for one in value]
    if isinstance(value, str):
        number = _number(value)
        return _place(value) if number is None else normalize(number)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested dictionaries by dotted key; an empty dictionary is a value."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    joined = (flatten(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in node.items())
    return {key: value for part in joined for key, value in part.items()}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _place(text: str) -> str:
    if "/" not in text or "://" in text:
        return text
    path, here = Path(os.path.normpath(text)), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
