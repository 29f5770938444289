"""A tiny network that was trained on digits, as the tests of this folder quantize it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ghostlab.deploy.network import Description, Network

LAYERS = ("0", "2", "4", "7")


def digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 3, 8, 8) and their classes."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1).repeat(1, 3, 1, 1) / 8 - 1
    return images, torch.from_numpy(bunch.target)


def trained(images: Tensor, targets: Tensor) -> nn.Sequential:
    """Convolutions, a depthwise one among them, and a linear layer; they know nine digits of ten."""
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU(), nn.Conv2d(16, 32, 1)
    model = nn.Sequential(*convs, nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        for some in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[some]), targets[some]).backward()
            optimizer.step()
    return model.eval().requires_grad_(False)


def described(model: nn.Module) -> Network:
    given = {"input_size": [3, 8, 8], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
    return Network(model, Description("tiny", tuple("0123456789"), given), None)


def top1(model: nn.Module, images: Tensor, targets: Tensor) -> float:
    """In percent."""
    with torch.no_grad():
        return 100 * (model(images).argmax(1) == targets).float().mean().item()
