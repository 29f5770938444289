"""Structural re-parameterization: convolutions train as several parallel branches and are deployed as one.

The plain functions are ``ghostlab.reparam.reparameterize`` and ``ghostlab.reparam.fuse``. Sources: RepVGG
(https://arxiv.org/abs/2101.03697), MobileOne (https://arxiv.org/abs/2206.04040) and, for GhostNet, GhostNetV3
(https://arxiv.org/abs/2404.11202).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ghostlab.reparam import MultiBranchConv, reparameterize
from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import at_least_one

__all__ = ["Reparam"]


@dataclass
class Reparam(Strategy):
    """Grows ``branches`` Conv-BN branches, and a 1x1 and an identity branch where they fit, in the chosen convolutions.

    ``include`` and ``exclude`` are lists of patterns of convolution names (``*`` matches anything); with ``include``
    null the model's own rule is used if it has one, else every convolution followed by a batch norm is grown.
    The branches start from new random weights, whatever weights the model had.
    """

    name = "reparam"
    branches: int = 3
    scale: bool = True
    identity: bool = True
    include: list[str] | None = None
    exclude: list[str] | None = None

    def __post_init__(self) -> None:
        at_least_one("strategy.reparam.branches", self.branches)
        self._grown = ""

    def change_model(self, model: nn.Module, task: Task) -> nn.Module:
        example = torch.zeros(1, len(task.mean), task.image_size, task.image_size)
        model = reparameterize(
            model, self.branches, self.scale, self.identity, self.include, self.exclude or (), example_input=example
        )
        convs = sum(isinstance(module, MultiBranchConv) for module in model.modules())
        params = sum(parameter.numel() for parameter in model.parameters())
        self._grown = f" on {convs} convolutions, {params / 1e6:.2f} M params in training"
        return model

    def describe(self) -> str:
        return f"N={self.branches}{self._grown}"
