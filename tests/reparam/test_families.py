"""Models of every family, timm's and torchvision's, grow at every pair, learn with branches, and fuse completely."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from pytest import param
from torch import Tensor, nn

from ghostlab.reparam import MultiBranchConv, find_pairs, fuse, reparameterize
from tests.reparam.nets import norms, scatter

Build = Callable[[], nn.Module]


def of_timm(name: str) -> Build:
    return lambda: timm.create_model(name, num_classes=4)


def images_for(model: nn.Module, count: int) -> Tensor:
    """Random images as small as the model takes: timm's attention of GhostNet V2 and V3 halves a map of one pixel."""
    size = 64 if isinstance(model, timm.models.ghostnet.GhostNet) else 32
    return torch.randn(count, 3, size, size)


FAMILIES = [
    param(of_timm("mobilenetv1_100"), id="mobilenetv1"),
    param(of_timm("mobilenetv2_100"), id="mobilenetv2"),
    param(of_timm("mobilenetv3_small_100"), id="mobilenetv3"),
    param(of_timm("mobilenetv4_conv_small"), id="mobilenetv4"),
    param(of_timm("efficientnet_b0"), id="efficientnet"),
    param(of_timm("tf_efficientnetv2_b0"), id="efficientnetv2 with TF padding"),
    param(of_timm("resnet18"), id="resnet"),
    param(of_timm("regnety_002"), id="regnety"),
    param(of_timm("ghostnet_100"), id="ghostnet"),
    param(of_timm("ghostnetv2_100"), id="ghostnetv2"),
    param(lambda: torchvision.models.efficientnet_b0(num_classes=4), id="torchvision efficientnet"),
    param(lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=4), id="torchvision shufflenet"),
]
WITH_BRANCHES = [
    param(of_timm("mobileone_s0"), id="mobileone"),
    param(of_timm("repvgg_a0"), id="repvgg"),
    param(of_timm("repghostnet_050"), id="repghost"),
    param(of_timm("repvit_m0_9"), id="repvit"),
    param(of_timm("fastvit_t8"), id="fastvit"),
]
"""Families that have branches already: their convolutions grow too, and their blocks collapse by their own method."""
GHOSTNETV3 = param(of_timm("ghostnetv3_050"), id="ghostnetv3")
"""Another one, of 300 convolutions."""


@pytest.mark.parametrize("build", [*FAMILIES, *WITH_BRANCHES])
def test_a_family_grows_learns_and_fuses(build: Build) -> None:
    model = build()
    images = images_for(model, 4)
    before, pairs = norms(model), len(find_pairs(model, images))
    plain = not any(build in case.values for case in WITH_BRANCHES)
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


@pytest.mark.parametrize("build", [*FAMILIES[::2], *WITH_BRANCHES[::2]])
def test_a_family_grows_without_changing_what_it_computes(build: Build) -> None:
    model = scatter(build()).double()
    images = images_for(model, 2).double()
    grown = reparameterize(copy.deepcopy(model), branches=2, example_input=images, init="preserve")
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(grown.eval()(images), expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize("build", [GHOSTNETV3, *WITH_BRANCHES])
def test_blocks_with_branches_of_their_own_collapse(build: Build) -> None:
    model = scatter(build())
    images = images_for(model, 2)
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
