"""The networks behind the factors, built without values and counted."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from ghostlab.models import Counts, count

__all__ = ["Networks", "Shapes"]

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Name and shape of every parameter: the same for two models exactly if they are the same network."""


class Networks:
    """The networks of a family, each built and counted once.

    ``build`` makes the model for a depth and a width; it is called with meta tensors as the default.
    """

    def __init__(self, build: Callable[[float, float], nn.Module]) -> None:
        self._build = build
        self._shapes: dict[tuple[float, float], Shapes] = {}
        self._models: dict[Shapes, nn.Module] = {}
        self._counts: dict[tuple[Shapes, int], Counts] = {}

    def shapes(self, depth: float, width: float) -> Shapes:
        """What tells the network of this depth and width from others."""
        if (depth, width) not in self._shapes:
            with torch.device("meta"):
                model = self._build(depth, width)
            shapes = tuple((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())
            self._shapes[depth, width] = shapes
            self._models.setdefault(shapes, _without_norms(model))
        return self._shapes[depth, width]

    def counts(self, depth: float, width: float, px: int) -> Counts:
        """Parameters, and MACs of one image of ``px`` pixels a side."""
        shapes = self.shapes(depth, width)
        if (shapes, px) not in self._counts:
            macs = count(self._models[shapes], px).macs
            self._counts[shapes, px] = Counts(sum(math.prod(shape) for _, shape in shapes), macs)
        return self._counts[shapes, px]


def _without_norms(model: nn.Module) -> nn.Module:
    """The model without its batch norms, which are no MACs but half of the time that counting takes."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return model
