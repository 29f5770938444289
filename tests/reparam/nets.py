"""A small model with one Conv-BN pair of each shape, and the statistics that make its batch norms worth testing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TinyNet", "norms", "scatter"]


class TinyNet(nn.Module):
    """A depthwise-separable block with a residual around it: four Conv-BN pairs, one of each shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8))
        self.pointwise = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(8, 12, 5, stride=2, padding=2, groups=4), nn.BatchNorm2d(12))
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_bn(self.stem(x)).relu()
        x = x + self.pointwise(self.depthwise(x).relu())
        return self.head(self.down(x).mean((2, 3)))


def scatter(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random statistics and weights in every batch norm of ``model``."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.3, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.3, generator=generator)
    return model


def norms(model: nn.Module) -> int:
    """The number of batch norms in ``model``, of any kind."""
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
