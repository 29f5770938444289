"""Small folded networks with the values of trained ones."""

from __future__ import annotations

from typing import Any

import ghostlab
from ghostlab.deploy.network import Description, Network
from tests.reparam.nets import scatter

__all__ = ["network"]


def network(name: str, image_size: int, classes: int = 7, **options: Any) -> Network:
    """Of random weights and statistics; always the same."""
    model, _ = ghostlab.fuse(scatter(ghostlab.create_model(name, num_classes=classes, **options)))
    preprocessing = {
        **{"input_size": [3, image_size, image_size], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]},
        **{"interpolation": "bicubic", "crop_pct": 0.9},
    }
    names = tuple(f"class {i}" for i in range(classes))
    return Network(model.eval(), Description(name, names, preprocessing), None)
