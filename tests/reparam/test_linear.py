"""Batch norms around linear layers, and before layers that do not pad, fold; where that is not exact they stay."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from pytest import param
from torch import Tensor, nn

from ghostlab.reparam import adopt_layout, deployed, fuse
from tests.reparam.nets import norms, scatter


class Headed(nn.Module):
    """A stem of one pair, and the head that a case gives it."""

    def __init__(self, head: nn.Module, pooled: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head, self.pooled = head, pooled

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x.mean((2, 3)) if self.pooled else x)


class UsedTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return y + self.linear(y)


class LinearTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y + self.norm(y)


class Sequences(nn.Module):
    """A BatchNorm1d over (B, C, L), and a linear layer over its last dimension, which is not the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x.unsqueeze(-1).expand(-1, -1, 8)))


Build = Callable[[], nn.Module]


def pooled(*head: Callable[[], nn.Module]) -> Build:
    return lambda: Headed(nn.Sequential(*(make() for make in head)))


def maps(*head: Callable[[], nn.Module]) -> Build:
    return lambda: Headed(nn.Sequential(*(make() for make in head)), pooled=False)


def linear(**options: bool) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(8, 5, **options)


def norm1d(channels: int, **options: bool) -> Callable[[], nn.Module]:
    return lambda: nn.BatchNorm1d(channels, **options)


def norm2d(channels: int) -> Callable[[], nn.Module]:
    return lambda: nn.BatchNorm2d(channels)


def conv(*shape: int, **options: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(8, 4, *shape, **options)


FOLDED = [
    param(pooled(linear(), norm1d(5)), id="linear, norm"),
    param(pooled(linear(bias=False), norm1d(5)), id="linear without bias, norm"),
    param(pooled(norm1d(8), linear()), id="norm, linear"),
    param(pooled(norm1d(8), nn.Dropout, linear(bias=False)), id="norm, dropout, linear without bias"),
    param(pooled(norm1d(8, affine=False), linear()), id="norm without weights, linear"),
    param(pooled(norm1d(8), linear(), norm1d(5)), id="norm, linear, norm"),
    param(maps(norm2d(8), conv(1, groups=2)), id="norm, grouped 1x1"),
    param(maps(norm2d(8), conv(3, 2)), id="norm, strided unpadded 3x3"),
    param(maps(norm2d(8), conv(1), norm2d(4)), id="norm, 1x1, norm"),
]
LEFT = [
    param(pooled(norm1d(8)), "its input is not the output of one linear layer", id="norm alone"),
    param(pooled(norm1d(8), nn.ReLU, linear()), "its input is not the output", id="norm, activation, linear"),
    param(maps(norm2d(8), conv(3, padding=1)), "its input is not the output", id="norm, padded convolution"),
    param(pooled(UsedTwice), "its input is not the output", id="norm used twice"),
    param(pooled(Sequences), "its input is not the output", id="channels that are not last"),
    param(pooled(linear(), norm1d(5, track_running_stats=False)), "no running statistics", id="no statistics"),
    param(pooled(linear(), nn.ReLU, norm1d(5)), "its input is not the output", id="linear, activation, norm"),
    param(pooled(LinearTwice), "the output of head.0.linear is used 2 times", id="linear used twice"),
]


@pytest.mark.parametrize("build", FOLDED)
def test_a_norm_folds_into_the_layer_beside_it(build: Build, images: Tensor) -> None:
    model, images = scatter(build()).double(), images.double()
    before = norms(model)
    fused, report = fuse(model, images)
    assert (norms(fused), report.left, report.plain + report.others) == (0, (), before)
    assert all(parameter.requires_grad for parameter in fused.parameters())
    with torch.no_grad():
        torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("build", "reason"), LEFT)
def test_what_does_not_fold_exactly_stays_with_the_reason(build: Build, reason: str, images: Tensor) -> None:
    model = scatter(build())
    fused, report = fuse(model, images)
    [(name, why)] = report.left
    assert name.startswith("head") and reason in why
    assert (norms(fused), report.others) == (1, 0)


@pytest.mark.parametrize("build", FOLDED)
def test_the_layout_follows_the_weights_both_ways(build: Build, images: Tensor) -> None:
    model = scatter(build()).eval()
    fused, _ = fuse(model, images)
    new = deployed(build(), images)
    new.load_state_dict(fused.state_dict())
    for target, source in ((build(), fused), (copy.deepcopy(fused), model)):
        adopt_layout(target, source.state_dict(), images)
        target.load_state_dict(source.state_dict())
        torch.testing.assert_close(target.eval()(images), source(images))
