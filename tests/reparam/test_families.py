"""Models of every family, timm's and torchvision's, grow at every pair, learn with branches, and fuse completely."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from pytest import param
from torch import nn

from ghostlab.reparam import MultiBranchConv, find_pairs, fuse, reparameterize

FAMILIES = [
    param(lambda: timm.create_model("mobilenetv1_100", num_classes=4), id="mobilenetv1"),
    param(lambda: timm.create_model("mobilenetv2_035", num_classes=4), id="mobilenetv2"),
    param(lambda: timm.create_model("mobilenetv3_small_050", num_classes=4), id="mobilenetv3"),
    param(lambda: timm.create_model("mobilenetv4_conv_small_035", num_classes=4), id="mobilenetv4"),
    param(lambda: timm.create_model("efficientnet_lite0", num_classes=4), id="efficientnet"),
    param(lambda: timm.create_model("tf_efficientnet_b0", num_classes=4), id="efficientnet with TF padding"),
    param(lambda: timm.create_model("test_efficientnet", num_classes=4), id="efficientnet v2 blocks"),
    param(lambda: timm.create_model("test_resnet", num_classes=4), id="resnet"),
    param(lambda: timm.create_model("regnetx_002", num_classes=4), id="regnet"),
    param(lambda: timm.create_model("ghostnet_050", num_classes=4), id="ghostnet"),
    param(lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=4), id="torchvision shufflenet"),
    param(lambda: torchvision.models.mobilenet_v3_small(num_classes=4), id="torchvision mobilenetv3"),
]


@pytest.mark.parametrize("build", FAMILIES)
def test_a_family_grows_learns_and_fuses(build: Callable[[], nn.Module]) -> None:
    model, images = build(), torch.randn(4, 3, 32, 32)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(find_pairs(model, images)) == norms
    reparameterize(model, branches=2, example_input=images)
    sites = [module for module in model.modules() if isinstance(module, MultiBranchConv)]
    assert len(sites) == norms

    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(images), torch.arange(4)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # on maps of one pixel gradients are huge
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)  # kernels in front of a saturated gate may have no gradient

    fused, report = fuse(model, images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert (report.grown, report.branches, report.plain, report.left) == (norms, 2 * norms, 0, ())
    with torch.no_grad():
        expected = model.eval()(images)
        torch.testing.assert_close(fused(images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_resnet18_of_torchvision_has_the_branches_that_its_shapes_allow() -> None:
    model = torchvision.models.resnet18()
    reparameterize(model, branches=2, example_input=torch.zeros(1, 3, 32, 32))
    sites = [module for module in model.modules() if isinstance(module, MultiBranchConv)]
    scales, identities = sum(site.scale is not None for site in sites), sum(site.identity is not None for site in sites)
    assert (len(sites), scales, identities) == (20, 17, 13)  # 3 are 1x1; 13 of the 3x3 keep their channels at stride 1
