"""What a layer loses alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ghostlab.deploy.int8.sensitivity import sensitivity, weighted_layers


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Flatten(), nn.Linear(96, 5)
    return nn.Sequential(*parts).eval()


def test_every_convolution_and_linear_layer_is_ranked_the_worst_first(images: torch.Tensor) -> None:
    losses = sensitivity(net(), images)
    assert {loss.name for loss in losses} == {"0", "2", "4"} == set(weighted_layers(net()))
    assert [loss.sqnr for loss in losses] == sorted(loss.sqnr for loss in losses)
    assert 20 < losses[0].sqnr < 60


def test_an_input_with_an_outlier_is_the_worst(images: torch.Tensor) -> None:
    images[0, 0, 0, 0] = 1000
    assert sensitivity(net(), images)[0].name == "0"


def test_channels_of_different_size_cost_nothing_as_each_has_its_scale(images: torch.Tensor) -> None:
    model = net()
    before = {loss.name: loss.sqnr for loss in sensitivity(model, images)}
    with torch.no_grad():  # 2 to a power: the same steps in each channel, relative to its size
        sizes = 2.0 ** torch.arange(6)
        model[0].weight.mul_(sizes.view(-1, 1, 1, 1))
        model[0].bias.mul_(sizes)
        model[2].weight.div_(sizes.view(-1, 1, 1, 1))
    after = {loss.name: loss.sqnr for loss in sensitivity(model, images)}
    assert after["0"] == pytest.approx(before["0"], abs=0.01)
    assert after["4"] == pytest.approx(before["4"], abs=0.01)


def test_what_eight_bits_hold_exactly_loses_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[127.0, 1, 0], [-127, 5, 3]]).view(2, 3, 1, 1))
    pixels = torch.arange(12).view(1, 3, 2, 2).float()
    pixels[0, 0, 0, 0] = 255
    assert sensitivity(model, pixels)[0].sqnr == math.inf


def test_the_model_is_left_as_it_was(images: torch.Tensor) -> None:
    model = net()
    before = model(images)
    sensitivity(model, images)
    torch.testing.assert_close(model(images), before, rtol=0, atol=0)
