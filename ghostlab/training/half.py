"""Training with weights of 16 bits whose batch norms stay in float32."""

from __future__ import annotations

from pytorch_lightning.plugins import HalfPrecision
from torch.nn import Module

__all__ = ["HalfWeights"]


class HalfWeights(HalfPrecision):
    """bfloat16 weights, but float32 where a module keeps running statistics.

    These move by a tenth or a hundredth of what is left to go, which is soon less than eight bits can show, and would
    stop on the way.
    """

    def convert_module(self, module: Module) -> Module:
        module = super().convert_module(module)
        for part in module.modules():
            if any(name.startswith("running_") for name, _ in part.named_buffers(recurse=False)):
                part.float()
        return module
