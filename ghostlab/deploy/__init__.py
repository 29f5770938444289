"""From a trained run to files that are deployed, and to pictures of where it looks.

What is named here is imported when it is first used, so that a mistyped command is answered before torch is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostlab.deploy.cam import Explanation, class_activation, explain
    from ghostlab.deploy.fused import Accuracy, write_fused

__all__ = ["Accuracy", "Explanation", "class_activation", "explain", "write_fused"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ghostlab.deploy' has no attribute '{name}'")
    room = "fused" if name in ("Accuracy", "write_fused") else "cam"
    return getattr(importlib.import_module(f"ghostlab.deploy.{room}"), name)
