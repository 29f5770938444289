"""A multi-branch convolution is the sum of separate Conv-BN modules, and its fold is that sum in evaluation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytest import param
from timm.layers import Conv2dSame
from torch import Tensor, nn

from ghostlab.reparam import MultiBranchConv
from tests.reparam.nets import scatter

CASES = [  # channels in and out, options of the convolution, and whether scale and identity branches are legal
    param((4, 6), {"kernel_size": 3, "padding": 1}, (True, False), id="dense"),
    param((6, 6), {"kernel_size": 3, "padding": 1}, (True, True), id="dense, in == out"),
    param((6, 6), {"kernel_size": 1}, (False, True), id="pointwise, in == out"),
    param((4, 6), {"kernel_size": 1}, (False, False), id="pointwise"),
    param((6, 6), {"kernel_size": 1, "stride": 2}, (False, False), id="pointwise, strided"),
    param((6, 6), {"kernel_size": 3, "padding": 1, "groups": 6}, (True, True), id="depthwise"),
    param((6, 6), {"kernel_size": 5, "padding": 2, "groups": 6, "stride": 2}, (True, False), id="depthwise, strided"),
    param((4, 8), {"kernel_size": 3, "padding": 1, "groups": 4}, (True, False), id="depthwise, multiplied"),
    param((6, 6), {"kernel_size": 3, "padding": 1, "groups": 2}, (True, True), id="grouped"),
    param((6, 6), {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 3}, (True, True), id="grouped, dilated"),
    param((4, 4), {"kernel_size": 3, "padding": "same"}, (True, True), id="padding same"),
    param((4, 4), {"kernel_size": (1, 5), "padding": (0, 2), "groups": 4}, (True, True), id="1x5"),
    param((4, 4), {"kernel_size": 3, "padding": 1, "dilation": 2}, (False, False), id="not centred"),
    param((4, 4), {"kernel_size": 3}, (False, False), id="unpadded"),
    param((4, 4), {"kernel_size": 4, "padding": 2, "stride": 2}, (False, False), id="even kernel"),
]


class Textbook(nn.Module):
    """The same branches as modules of their own."""

    def __init__(self, site: MultiBranchConv, channels: tuple[int, int], options: dict[str, Any]) -> None:
        super().__init__()
        c_in, c_out = channels
        self.convs = nn.ModuleList(nn.Conv2d(c_in, c_out, **options, bias=False) for _ in range(site.branches))
        self.bns = nn.ModuleList(nn.BatchNorm2d(c_out) for _ in range(site.branches))
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            rows = slice(i * c_out, (i + 1) * c_out)
            conv.weight.data = site.conv.weight.data[rows].clone()
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(bn, name).data = getattr(site.bn, name).data[rows].clone()
        self.scale = copy.deepcopy(nn.Sequential(*site.scale.children())) if site.scale else None
        self.identity = copy.deepcopy(site.identity)

    def forward(self, x: Tensor) -> Tensor:
        y = sum(bn(conv(x)) for conv, bn in zip(self.convs, self.bns, strict=True))
        y = y + self.scale(x) if self.scale else y
        return y + self.identity(x) if self.identity else y


def grown(channels: tuple[int, int], options: dict[str, Any], branches: int = 3) -> MultiBranchConv:
    conv = nn.Conv2d(*channels, **options).double()
    norm = nn.BatchNorm2d(channels[1]).double()
    return scatter(MultiBranchConv.from_conv(conv, norm, branches, scale=True, identity=True))


@pytest.mark.parametrize("branches", [param(1, id="N=1"), param(3, id="N=3")])
@pytest.mark.parametrize(("channels", "options", "legal"), CASES)
def test_training_equals_separate_modules(
    channels: tuple[int, int], options: dict[str, Any], legal: tuple[bool, bool], branches: int
) -> None:
    site = grown(channels, options, branches)
    reference = Textbook(site, channels, options).double()
    x = torch.randn(4, channels[0], 9, 8, dtype=torch.float64, requires_grad=True)
    x_reference = x.detach().clone().requires_grad_()
    y, y_reference = site(x), reference(x_reference)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    (y_reference * weights).sum().backward()

    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(y, y_reference, **exact)
    torch.testing.assert_close(x.grad, x_reference.grad, **exact)
    torch.testing.assert_close(site.conv.weight.grad, torch.cat([c.weight.grad for c in reference.convs]), **exact)
    torch.testing.assert_close(site.bn.weight.grad, torch.cat([bn.weight.grad for bn in reference.bns]), **exact)
    torch.testing.assert_close(site.bn.bias.grad, torch.cat([bn.bias.grad for bn in reference.bns]), **exact)
    torch.testing.assert_close(site.bn.running_mean, torch.cat([bn.running_mean for bn in reference.bns]), **exact)
    torch.testing.assert_close(site.bn.running_var, torch.cat([bn.running_var for bn in reference.bns]), **exact)
    if site.scale is not None:
        torch.testing.assert_close(site.scale.conv.weight.grad, reference.scale[0].weight.grad, **exact)
        torch.testing.assert_close(site.scale.bn.running_var, reference.scale[1].running_var, **exact)
    if site.identity is not None:
        torch.testing.assert_close(site.identity.weight.grad, reference.identity.weight.grad, **exact)
        torch.testing.assert_close(site.identity.running_mean, reference.identity.running_mean, **exact)


@pytest.mark.parametrize(("channels", "options", "legal"), CASES)
def test_fold_equals_evaluation(channels: tuple[int, int], options: dict[str, Any], legal: tuple[bool, bool]) -> None:
    site = grown(channels, options).eval()
    weight, bias = site.fold()
    x = torch.randn(2, channels[0], 9, 8, dtype=torch.float64)
    keep = {name: value for name, value in options.items() if name != "kernel_size"}
    torch.testing.assert_close(F.conv2d(x, weight, bias, **keep), site(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("channels", "options", "legal"), CASES)
def test_scale_and_identity_only_where_legal(
    channels: tuple[int, int], options: dict[str, Any], legal: tuple[bool, bool]
) -> None:
    site = grown(channels, options)
    assert (site.scale is not None, site.identity is not None) == legal


def test_scale_and_identity_only_when_asked() -> None:
    conv, norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
    site = MultiBranchConv.from_conv(conv, norm, 2, scale=False, identity=False)
    assert (site.scale, site.identity) == (None, None)


def test_keys_are_stacked() -> None:
    site = grown((6, 6), {"kernel_size": 3, "padding": 1, "groups": 6})
    shapes = {name: tuple(value.shape) for name, value in site.named_parameters()}
    assert shapes == {
        "conv.weight": (18, 1, 3, 3),
        "bn.weight": (18,),
        "bn.bias": (18,),
        "scale.conv.weight": (6, 1, 1, 1),
        "scale.bn.weight": (6,),
        "scale.bn.bias": (6,),
        "identity.weight": (6,),
        "identity.bias": (6,),
    }


def test_every_branch_starts_like_a_new_convolution() -> None:
    site = grown((32, 40), {"kernel_size": 3, "padding": 1})
    bound = (32 * 9) ** -0.5  # nn.Conv2d draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in))
    first, second, third = site.conv.weight.detach().chunk(3)
    for branch in (first, second, third):
        assert 0.99 * bound < branch.abs().max() <= bound
    assert not torch.equal(first, second) and not torch.equal(second, third)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_settings_of_the_norm_and_dtype_are_kept(dtype: torch.dtype) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, dtype=dtype)
    norm = nn.BatchNorm2d(4, eps=1e-3, momentum=None, affine=False, dtype=dtype).eval()
    site = MultiBranchConv.from_conv(conv, norm, 2, scale=True, identity=True)
    assert {value.dtype for value in site.state_dict().values()} == {dtype, torch.int64}
    norms = [module for module in site.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(bn.eps, bn.momentum, bn.affine, bn.training) for bn in norms] == [(1e-3, None, False, False)] * 3


@pytest.mark.parametrize("groups", [param(1, id="dense"), param(4, id="depthwise")])
def test_a_convolution_with_padding_of_its_own_keeps_it(groups: int) -> None:
    conv = Conv2dSame(4, 4, 3, stride=2, groups=groups, bias=False).double()
    site = MultiBranchConv.from_conv(conv, nn.BatchNorm2d(4).double(), 2, scale=True, identity=True)
    assert (site.scale, site.identity) == (None, None)
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    expected = torch.zeros(3, 4, 4, 4, dtype=torch.float64)
    for weight in site.conv.weight.chunk(2):
        conv.weight.data = weight.data
        expected += nn.BatchNorm2d(4).double()(conv(x))
    torch.testing.assert_close(site(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [param(1, id="dense"), param(6, id="depthwise")])
def test_channels_last_stays_channels_last(groups: int) -> None:
    site = grown((6, 6), {"kernel_size": 3, "padding": 1, "groups": groups}).float()
    x = torch.randn(2, 6, 8, 8).to(memory_format=torch.channels_last)
    y = site.to(memory_format=torch.channels_last)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_strided_stem_of_large_channels_last_images_does_not_crash() -> None:
    site = MultiBranchConv.from_conv(nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), 2, True, False)
    assert site.scale is not None
    images = torch.randn(16, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    site.to(memory_format=torch.channels_last).train().branch_sum(images).sum().backward()
    assert site.scale.conv.weight.grad is not None


def test_the_output_of_a_single_branch_may_be_changed_in_place() -> None:
    site = MultiBranchConv.from_conv(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), 1, False, False).train()
    F.relu6(site.branch_sum(torch.randn(2, 3, 8, 8)), inplace=True).sum().backward()
    assert site.conv.weight.grad is not None
