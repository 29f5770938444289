"""Any trained network on images, whatever file it lies in: what it predicts, and where it looks.

What is named here is imported when it is first used, so that a mistyped command is answered before torch is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostlab.evaluation.cam import Explanation, class_activation, explain

__all__ = ["Explanation", "class_activation", "explain"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ghostlab.evaluation' has no attribute '{name}'")
    return getattr(importlib.import_module("ghostlab.evaluation.cam"), name)
