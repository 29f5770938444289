"""Depthwise convolutions of any model in training: by own kernels on the CPU, wherever these are faster."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ghostlab.kernels.choice import Choices
from ghostlab.kernels.function import depthwise
from ghostlab.kernels.geometry import Geometry, geometry_of
from ghostlab.kernels.native import kernels
from ghostlab.private_apis import peek_interpreter_stack

__all__ = ["DepthwiseKernels"]


class DepthwiseKernels:
    """The depthwise convolutions of ``model``, and how each of them is computed.

    Only within ``with kernels.active():``, and there only in eager mode, in float32 and float64, on the CPU and where a
    gradient is wanted, do own kernels compute; the modules, their parameters and hooks are the same at any time.
    """

    def __init__(self, model: nn.Module) -> None:
        self.choices = Choices()
        self._forwards = {
            module: functools.partial(self._forward, module, geometry)
            for module in model.modules()
            if isinstance(module, nn.Conv2d) and (geometry := _depthwise_geometry(module)) is not None
        }

    @contextmanager
    def active(self) -> Iterator[None]:
        """While this lasts; the forward pass and, for checkpointed activations, the backward pass belong in it."""
        replaced = [module for module in self._forwards if "forward" not in vars(module)]
        for module in replaced:
            vars(module)["forward"] = self._forwards[module]
        try:
            yield
        finally:
            for module in replaced:
                del vars(module)["forward"]

    def _forward(self, module: nn.Conv2d, geometry: Geometry, x: Tensor) -> Tensor:
        if not _fits(module, x):
            return type(module).forward(module, x)
        way = self.choices.of(x, module.weight, module.bias, geometry)
        return depthwise(x, module.weight, module.bias, geometry, way)


def _depthwise_geometry(module: nn.Conv2d) -> Geometry | None:
    if not 1 < module.groups == module.in_channels == module.out_channels:
        return None
    geometry = geometry_of(module, module.groups)
    return geometry if geometry is not None and geometry.dilation == (1, 1) else None


def _fits(module: nn.Conv2d, x: Tensor) -> bool:
    if torch.compiler.is_compiling() or type(x) is not Tensor or not torch.is_grad_enabled():
        return False
    weight = module.weight
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.ndim == 4
        and x.shape[1] == len(weight)
        and x.numel() > 0
        and (x.requires_grad or weight.requires_grad)
        and not torch.is_autocast_enabled("cpu")
        and peek_interpreter_stack() is None
        and kernels(x.dtype) is not None
    )
