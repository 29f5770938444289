"""Any model grows branches where it may, trains with them in every mode, and a wrong request says what is allowed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import timm
import torch
from pytest import param
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ghostlab.errors import UsageError
from ghostlab.reparam import MultiBranchConv, find_pairs, reparameterize
from tests.reparam.nets import TinyNet


def names(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, MultiBranchConv)]


def test_every_pair_grows_in_place(net: TinyNet, images: Tensor) -> None:
    returned = reparameterize(net, branches=2, example_input=images)
    assert returned is net
    assert names(net) == ["stem", "depthwise.0", "pointwise.0", "down.0"]
    assert {module.branches for module in net.modules() if isinstance(module, MultiBranchConv)} == {2}
    assert isinstance(net.stem_bn, nn.Identity) and isinstance(net.pointwise[1], nn.Identity)
    assert find_pairs(net, images) == []


def test_the_norm_of_each_branch_has_the_settings_of_the_one_it_replaces(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images)
    assert (net.pointwise[0].bn.eps, net.pointwise[0].identity.eps, net.stem.bn.eps) == (1e-3, 1e-3, 1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        param({"include": ["*wise.0"]}, ["depthwise.0", "pointwise.0"], id="include"),
        param({"include": "stem"}, ["stem"], id="one pattern as a string"),
        param({"exclude": ["stem", "d*"]}, ["pointwise.0"], id="exclude"),
        param({"include": ["*.0"], "exclude": ["down.*"]}, ["depthwise.0", "pointwise.0"], id="both"),
    ],
)
def test_include_and_exclude(net: TinyNet, images: Tensor, options: dict[str, Any], expected: list[str]) -> None:
    assert names(reparameterize(net, **options, example_input=images)) == expected


def test_the_rule_of_the_model_holds_unless_another_is_given(images: Tensor) -> None:
    class Ruled(TinyNet):
        reparam_include = ("pointwise.*",)

    assert names(reparameterize(Ruled(), example_input=images)) == ["pointwise.0"]
    assert names(reparameterize(Ruled(), include=["stem"], example_input=images)) == ["stem"]


@pytest.mark.parametrize("branches", [param(0, id="zero"), param(-1, id="negative"), param(1.5, id="fraction")])
def test_branches_below_one_are_refused(net: TinyNet, branches: Any) -> None:
    with pytest.raises(UsageError, match=f"branches={branches}: must be a whole number of at least 1"):
        reparameterize(net, branches=branches)


def test_nothing_to_grow_is_an_error(net: TinyNet, images: Tensor) -> None:
    with pytest.raises(UsageError, match=r"no Conv-BN pair of TinyNet to grow: 4 are eligible.*include=\['stm'\]"):
        reparameterize(net, include=["stm"], example_input=images)
    with pytest.raises(UsageError, match="no Conv-BN pair of Sequential to grow: 0 are eligible"):
        reparameterize(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), example_input=images)


def test_a_pattern_without_a_pair_is_said(net: TinyNet, images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ghostlab"):
        reparameterize(net, include=["stem", "stm.*"], exclude=["hed"], example_input=images)
    assert [record.message for record in caplog.records] == [
        "'stm.*' matches no Conv-BN pair of TinyNet",
        "'hed' matches no Conv-BN pair of TinyNet",
    ]


def test_reflected_padding_does_not_grow(images: Tensor) -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    with pytest.raises(UsageError, match="0 are eligible"):
        reparameterize(nn.Sequential(conv, nn.BatchNorm2d(4)), example_input=images)


def test_ghostnetv3_is_ghostnetv2_with_branches_by_the_official_rules() -> None:
    model = timm.create_model("ghostnetv2_100")
    rule = ("*.primary_conv.0", "*.cheap_operation.0", "*.conv_dw")
    reparameterize(model, branches=3, include=rule, example_input=torch.zeros(1, 3, 64, 64))
    sites = [module for module in model.modules() if isinstance(module, MultiBranchConv)]
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_129_028
    assert len(sites) == 68
    assert (sum(site.scale is not None for site in sites), sum(site.identity is not None for site in sites)) == (36, 32)


def test_it_compiles_without_a_break(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    expected = net(images)
    torch.testing.assert_close(compiled(images), expected)


def test_it_runs_in_channels_last_under_bf16_autocast(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images).eval()
    exact = net(images)
    net.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(images.to(memory_format=torch.channels_last))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.05 * exact.abs().max().item())
    with torch.autocast("cpu", torch.bfloat16):
        net.train()(images).float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


def test_gradient_checkpointing_gives_the_same_gradients(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images)
    net(images).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    checkpoint(net, images, use_reentrant=False).sum().backward()
    torch.testing.assert_close([parameter.grad for parameter in net.parameters()], expected)
