"""Images in, batches out: data sets, transforms, order and the Lightning data module.

The names below are imported when first used, so that checking a configuration does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostlab.data.config import DataConfig, TeacherConfig
    from ghostlab.data.module import DataModule
    from ghostlab.data.samples import Batch

__all__ = ["Batch", "DataConfig", "DataModule", "TeacherConfig"]

_HOMES = {"Batch": "samples", "DataConfig": "config", "DataModule": "module", "TeacherConfig": "config"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
