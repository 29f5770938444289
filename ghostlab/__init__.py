"""Training strategies for compact image classifiers.

The four functions below are imported when they are first used, so that ``import ghostlab`` costs nothing: a mistyped
command is answered before torch is loaded. ``import ghostlab.models`` also registers the GhostNets with timm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostlab.models import create_model, load_weights
    from ghostlab.reparam import fuse, reparameterize

__all__ = ["__version__", "create_model", "fuse", "load_weights", "reparameterize"]

__version__ = "0.1.0"

_ROOMS = {
    "create_model": "ghostlab.models",
    "load_weights": "ghostlab.models",
    "fuse": "ghostlab.reparam",
    "reparameterize": "ghostlab.reparam",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'ghostlab' has no attribute '{name}'")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
