"""A network: three convolutions."""

from __future__ import annotations

from torch import nn

__all__ = ["tiny"]


def tiny(num_classes: int, in_chans: int, channels: int = 16) -> nn.Module:
    """From images (B, in_chans, H, W) to logits (B, num_classes); each layer halves the image."""
    layers: list[nn.Module] = []
    for k in range(3):
        layers += [nn.Conv2d(in_chans if k == 0 else channels, channels, 3, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
