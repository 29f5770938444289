"""With ``norm="sum"`` the norm of a pair follows the sum of its branches, and all that holds for branches holds."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from pytest import param
from timm.layers import BatchNormAct2d
from timm.models.repghost import RepGhostModule
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.reparam import MultiBranchConv, adopt_layout, fuse, merge_branches, reparameterize
from tests.reparam.nets import TinyNet, norms, scatter
from tests.reparam.test_layout import FORMS, in_form, tiny
from tests.reparam.test_online import assert_same

SHAPES = [
    param(nn.Conv2d(6, 6, 3, padding=1, bias=False), id="dense"),
    param(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), id="depthwise"),
    param(nn.Conv2d(4, 6, 5, padding=2, stride=2, groups=2, bias=False), id="grouped, strided"),
    param(nn.Conv2d(6, 6, 1, bias=False), id="pointwise"),
]


def grown(model: nn.Module, images: Tensor, branches: int = 2) -> nn.Module:
    return scatter(reparameterize(model, branches, example_input=images, norm="sum"))


def grown_pair(conv: nn.Conv2d) -> nn.Sequential:
    model = nn.Sequential(copy.deepcopy(conv), nn.BatchNorm2d(conv.out_channels)).double()
    return grown(model, torch.zeros(1, conv.in_channels, 8, 8).double())  # type: ignore[return-value]


@pytest.mark.parametrize("conv", SHAPES)
def test_it_is_the_formula_of_the_paper(conv: nn.Conv2d) -> None:
    model, x = grown_pair(conv), torch.randn(4, conv.in_channels, 9, 8, dtype=torch.float64)
    site, norm = model[0], copy.deepcopy(model[1])
    geometry = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
    total = sum(
        F.batch_norm(F.conv2d(x, w, **geometry), None, None, g, b, training=True)
        for w, g, b in zip(site.conv.weight.chunk(2), site.bn.weight.chunk(2), site.bn.bias.chunk(2), strict=True)
    )
    if site.scale is not None:
        total = total + F.conv2d(x, site.scale.conv.weight, stride=conv.stride, groups=conv.groups)
    if site.identity is not None:
        total = total + x
    torch.testing.assert_close(model(x), norm(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("conv", SHAPES)
def test_online_a_step_is_that_of_the_branches(conv: nn.Conv2d) -> None:
    x = torch.randn(3, conv.in_channels, 9, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert_same(grown_pair(conv).train(), x, 1e-9)
    model = grown_pair(conv).eval()
    torch.testing.assert_close(model[0](x), model[0].branch_sum(x), rtol=0, atol=1e-12)


def test_only_full_kernels_and_the_sum_have_norms() -> None:
    assert set(grown_pair(nn.Conv2d(6, 6, 3, padding=1, groups=6)).state_dict()) == {
        *(f"0.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        *("0.conv.weight", "0.scale.conv.weight", "0.identity.present"),
    }


def test_fresh_branches_begin_with_a_fresh_norm(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images, norm="sum")
    assert (net.stem_bn.weight == 1).all() and not net.stem_bn.running_mean.any()


def test_fusing_takes_the_norm_in_rounds_once_and_counts(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, 2, include=["stem", "*wise.0"], example_input=images, norm="sum")
    exact = scatter(copy.deepcopy(net)).double()
    fused, report = fuse(exact, images.double())
    assert norms(fused) == 0
    assert (report.grown, report.branches, report.scales, report.identities, report.plain) == (3, 6, 2, 2, 1)
    torch.testing.assert_close(fused(images.double()), exact.eval()(images.double()), rtol=0, atol=1e-12)
    single, _ = fuse(exact.float(), images)
    torch.testing.assert_close(single.state_dict(), fused.float().state_dict(), rtol=0, atol=0)


def test_an_activation_inside_the_norm_stays(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), BatchNormAct2d(4)).double()
    model, images = grown(model, images.double()), images.double()
    fused, _ = fuse(model, images)
    assert norms(fused) == 0 and isinstance(fused[1].act, nn.ReLU)
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)


def test_a_block_collapses_by_a_method_of_its_own(images: Tensor) -> None:
    model, images = nn.Sequential(RepGhostModule(3, 6)).double(), images.double()
    fused, report = fuse(grown(model, images), images)
    assert (norms(fused), report.blocks) == (0, 1) and report.grown > 0
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)


@pytest.mark.parametrize("other", [*FORMS, "sum", "sum without extras"])
def test_a_model_takes_its_weights_and_those_of_any_other_form(other: str, images: Tensor) -> None:
    def build(form: str) -> nn.Module:
        if form == "sum without extras":
            return scatter(reparameterize(tiny(), 2, False, False, example_input=images, norm="sum"))
        return grown(tiny(), images) if form == "sum" else in_form(tiny(), form, images)

    for source, model in ((build("sum"), build(other)), (build(other), build("sum"))):
        adopt_layout(model, source.state_dict(), images)
        model.load_state_dict(source.state_dict())
        torch.testing.assert_close(model.eval()(images), source.eval()(images))


@pytest.mark.parametrize("bias", [True, False])
def test_to_preserve_is_to_compute_what_it_did(bias: bool) -> None:
    model = scatter(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=bias), nn.BatchNorm2d(4)).double())
    images = torch.randn(4, 4, 8, 8, dtype=torch.float64)
    new = reparameterize(copy.deepcopy(model), 3, example_input=images, init="preserve", norm="sum")
    assert new[0].scale is not None and new[0].identity is None  # which nothing could silence
    torch.testing.assert_close(new.eval()(images), model.eval()(images), rtol=0, atol=1e-12)
    torch.testing.assert_close(new.train()(images), model.train()(images), rtol=0, atol=1e-4)


def test_merged_branches_compute_the_same_in_evaluation_and_in_training(net: TinyNet, images: Tensor) -> None:
    net, images = grown(net.double(), images.double()), torch.randn(64, 3, 16, 16, dtype=torch.float64)
    for _ in range(60):
        net(images)
    merged = merge_branches(copy.deepcopy(net), images[:2])
    assert not any(isinstance(module, MultiBranchConv) for module in merged.modules())
    torch.testing.assert_close(merged.eval()(images), net.eval()(images), rtol=1e-9, atol=1e-9)
    expected = net.train()(images)
    assert (merged.train()(images) - expected).norm() < 0.01 * expected.norm()


def test_synchronised_norms_follow_the_sum_and_fuse_as_well(net: TinyNet, images: Tensor) -> None:
    net = nn.SyncBatchNorm.convert_sync_batchnorm(grown(net.double(), images.double())).eval()
    assert isinstance(net.stem_bn, nn.SyncBatchNorm) and isinstance(net.stem.bn, nn.SyncBatchNorm)
    fused, _ = fuse(net, images.double())
    torch.testing.assert_close(fused(images.double()), net(images.double()), rtol=0, atol=1e-12)


def test_another_place_for_the_norm_is_refused(net: TinyNet) -> None:
    with pytest.raises(UsageError, match=r"norm=sums: no norm 'sums'; did you mean 'sum'\?"):
        reparameterize(net, norm="sums")
