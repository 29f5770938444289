"""Branches merged into one Conv-BN pair: the same function, and a norm that knows what its batches will be like."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import ghostlab
from ghostlab.reparam import MultiBranchConv, merge_branches
from tests.reparam.nets import TinyNet, scatter


def smooth(count: int, seed: int) -> Tensor:
    """Images (count, 3, 32, 32) whose neighbours are alike, as in photographs."""
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, size=32, mode="bicubic")


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network with branches of unequal weight that knows the statistics of ``smooth`` images."""
    torch.manual_seed(0)
    model = scatter(ghostlab.reparameterize(TinyNet(), branches=3, example_input=torch.zeros(1, 3, 32, 32)))
    for seed in range(60):
        model(smooth(64, seed))
    return model.eval()


@pytest.fixture
def grown(trained: nn.Module) -> nn.Module:
    return copy.deepcopy(trained)


def merged(model: nn.Module) -> nn.Module:
    return merge_branches(copy.deepcopy(model), smooth(32, 99))


def test_the_function_stays(grown: nn.Module) -> None:
    model, images = merged(grown.double()), smooth(4, 100).double()
    torch.testing.assert_close(model(images), grown(images), rtol=1e-9, atol=1e-9)


def test_the_layout_is_that_of_a_network_without_branches(grown: nn.Module) -> None:
    model = merged(grown)
    assert not any(isinstance(module, MultiBranchConv) for module in model.modules())
    plain = TinyNet().state_dict()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in plain.items() if key != "down.0.bias"}


def test_in_training_it_computes_about_what_it_does_in_evaluation(grown: nn.Module) -> None:
    model, images = merged(grown), smooth(256, 101)
    with torch.no_grad():
        expected, trained = model(images), model.train()(images)
    assert (trained - expected).norm() < 0.05 * expected.norm()


def test_the_kernels_have_the_scale_that_those_of_branches_have(grown: nn.Module) -> None:
    sites = {name: module for name, module in grown.named_modules() if isinstance(module, MultiBranchConv)}
    model = merged(grown)
    for name, site in sites.items():
        ratio = model.get_submodule(name).weight.norm() / (site.conv.weight.norm() / site.branches**0.5)
        assert 0.3 < ratio < 3, name


def test_a_channel_without_any_output_stays_one(grown: nn.Module) -> None:
    site = grown.get_submodule("pointwise.0")
    for norm in site.norms():
        norm.weight.data.view(-1, 8)[:, 0] = 0
    model, images = merged(grown), smooth(4, 100)
    assert model(images).isfinite().all()
    torch.testing.assert_close(model(images), grown(images), rtol=1e-4, atol=1e-5)


def test_it_can_be_grown_again_without_a_change(grown: nn.Module) -> None:
    model, images = merged(grown), smooth(4, 100)
    expected = model(images)
    again = ghostlab.reparameterize(copy.deepcopy(model), 2, example_input=images, init="preserve").eval()
    assert sum(isinstance(module, MultiBranchConv) for module in again.modules()) == 4
    torch.testing.assert_close(again(images), expected, rtol=1e-4, atol=1e-5)
