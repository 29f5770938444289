"""Models of every family, timm's and torchvision's, grow at every pair, learn with branches, and fuse completely."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from pytest import param
from torch import Tensor, nn

from ghostlab.reparam import MultiBranchConv, find_pairs, fuse, reparameterize
from tests.reparam.families import BRANCHED, PLAIN, WITH_BRANCHES, Build
from tests.reparam.nets import norms, scatter

SIZE = 32
GROWN = [*list(PLAIN)[::2], *list(WITH_BRANCHES)[::2]]


@pytest.mark.parametrize("family", [*PLAIN, *WITH_BRANCHES])
def test_a_family_grows_learns_and_fuses(family: str) -> None:
    plain = family in PLAIN
    model = (PLAIN | WITH_BRANCHES)[family]()
    images = torch.randn(4, 3, SIZE, SIZE)
    before, pairs = norms(model), len(find_pairs(model, images))
    assert pairs == before if plain else 0 < pairs < before
    reparameterize(model, branches=2, example_input=images)
    assert sum(isinstance(module, MultiBranchConv) for module in model.modules()) == pairs
    take_a_step(model, images)

    model, images = model.double(), images.double()  # after one step some of these do not fit float32 in evaluation
    fused, report = fuse(model, images)
    assert (norms(fused), report.left) == (0, ())
    assert (report.grown, report.branches) == (pairs, 2 * pairs)
    assert (report.plain, report.blocks) == (0, 0) if plain else report.blocks > 0
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(fused(images), expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def take_a_step(model: nn.Module, images: Tensor) -> None:
    """One step of SGD, in which nearly every parameter has a gradient; a saturated gate may take that of some."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(images), torch.arange(4)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # on maps of one pixel gradients are huge
    moving = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters()]
    assert sum(moving) > 0.9 * len(moving)
    optimizer.step()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model(images)  # statistics of these images: those of one step leave outputs that do not fit float32


@pytest.mark.parametrize("family", GROWN)
def test_a_family_grows_without_changing_what_it_computes(family: str) -> None:
    model = scatter((PLAIN | WITH_BRANCHES)[family]()).double()
    images = torch.randn(2, 3, SIZE, SIZE).double()
    grown = reparameterize(copy.deepcopy(model), branches=2, example_input=images, init="preserve")
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(grown.eval()(images), expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize("build", [param(build, id=name) for name, build in BRANCHED.items()])
def test_blocks_with_branches_of_their_own_collapse(build: Build) -> None:
    model = scatter(build())
    images = torch.randn(2, 3, SIZE, SIZE)
    fused, report = fuse(model, images)
    assert (norms(fused), report.left, report.grown) == (0, (), 0)
    assert report.blocks > 0
    assert all(parameter.requires_grad for parameter in fused.parameters())
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(fused(images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_resnet18_of_torchvision_has_the_branches_that_its_shapes_allow() -> None:
    model = torchvision.models.resnet18()
    reparameterize(model, branches=2, example_input=torch.zeros(1, 3, 32, 32))
    sites = [module for module in model.modules() if isinstance(module, MultiBranchConv)]
    scales, identities = sum(site.scale is not None for site in sites), sum(site.identity is not None for site in sites)
    assert (len(sites), scales, identities) == (20, 17, 13)  # 3 are 1x1; 13 of the 3x3 keep their channels at stride 1
