"""Fusing folds everything that can be folded, proves it, and leaves a model that can be trained further."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from pytest import param
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from ghostlab.errors import RunError
from ghostlab.reparam import FuseReport, MultiBranchConv, fuse, proof, reparameterize
from tests.reparam.nets import TinyNet, norms, scatter


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images)


@pytest.mark.parametrize("grown", [param(False, id="plain"), param(True, id="grown")])
def test_outputs_stay_and_no_norm_does(net: TinyNet, images: Tensor, grown: bool) -> None:
    if grown:
        scatter(reparameterize(net, example_input=images))
    net, images = net.double(), images.double()
    fused, _ = fuse(net, images)
    assert norms(fused) == 0
    torch.testing.assert_close(fused(images), outputs(net, images), rtol=0, atol=1e-12)


def test_the_original_is_left_as_it_was(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, include=["stem"], example_input=images)
    net.depthwise.eval()
    modes, state = [module.training for module in net.modules()], copy.deepcopy(net.state_dict())
    fused, _ = fuse(net, images)
    assert not any(module.training for module in fused.modules())
    assert [module.training for module in net.modules()] == modes
    torch.testing.assert_close(net.state_dict(), state, rtol=0, atol=0)


def test_the_report_counts_what_was_folded(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, branches=3, include=["depthwise.0", "down.0"], example_input=images)
    _, report = fuse(net, images)
    counts = (report.grown, report.branches, report.scales, report.identities, report.plain, report.left)
    assert counts == (2, 6, 2, 1, 2, ())
    assert 0 < report.difference64 < 1e-12 and 1e-9 < report.difference32 < 1e-5


def test_the_report_reads_as_two_lines() -> None:
    report = FuseReport(68, 204, 36, 32, 54, (("norm", "it runs 2 times"),), 3.1e-15, 2.4e-7)
    assert str(report).splitlines() == [
        "folded 122 convolutions: 68 grown (204 branches, 36 scale, 32 identity), 54 plain; left as they are: 1",
        "proof: largest difference 3.1e-15 (float64), 2.4e-07 (float32)",
    ]


def test_what_is_left_is_named_with_the_reason(images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    model.extend([nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)])
    _, report = fuse(model, images)
    assert report.left == (("2", "its input is not the output of one convolution"),)
    assert [record.message for record in caplog.records] == [f"2 is not folded: {report.left[0][1]}"]


@pytest.mark.parametrize("size", [param(1, id="1x1"), param(3, id="3x3")])
def test_identity_beside_a_dense_convolution_with_as_many_outputs(size: int) -> None:
    """The official GhostNetV3 builds a depthwise 3x3 identity here, and the fused model crashes."""
    model = nn.Sequential(nn.Conv2d(6, 6, size, padding=size // 2, bias=False), nn.BatchNorm2d(6)).double()
    images = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    scatter(reparameterize(model, example_input=images))
    assert model[0].identity is not None
    fused, _ = fuse(model, images)
    assert fused[0].weight.shape == (6, 6, size, size)
    torch.testing.assert_close(fused(images), outputs(model, images), rtol=0, atol=1e-12)


def test_fine_tuning_after_fusing_changes_every_parameter(net: TinyNet, images: Tensor) -> None:
    """The official GhostNetV3 detaches 294 of its 330 parameters while fusing."""
    fused, _ = fuse(reparameterize(net, example_input=images), images)
    before = [parameter.detach().clone() for parameter in fused.parameters()]
    optimizer = torch.optim.SGD(fused.parameters(), lr=0.1)
    fused.train()(images).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, fused.parameters(), strict=True))


def test_a_frozen_model_can_be_trained_after_fusing(net: TinyNet, images: Tensor) -> None:
    net.stem.requires_grad_(False)
    fused, _ = fuse(net, images)
    assert fused.stem.weight.requires_grad and fused.stem.bias.requires_grad


def test_a_batch_of_one_keeps_its_batch(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, example_input=images)
    fused, _ = fuse(net, images[:1])
    assert net(images[:1]).shape == fused(images[:1]).shape == (1, 5)


def test_dtype_is_kept(net: TinyNet, images: Tensor) -> None:
    net.bfloat16()
    fused, _ = fuse(net, images.bfloat16())
    assert {parameter.dtype for parameter in fused.parameters()} == {torch.bfloat16}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_is_kept(net: TinyNet, images: Tensor) -> None:
    fused, _ = fuse(reparameterize(net.cuda(), example_input=images.cuda()), images.cuda())
    assert {parameter.device.type for parameter in fused.parameters()} == {"cuda"}
    assert fused(images.cuda()).shape == (2, 5)


def test_kernels_are_rounded_once(net: TinyNet, images: Tensor) -> None:
    exact, _ = fuse(copy.deepcopy(net).double(), images.double())
    fused, _ = fuse(net, images)
    torch.testing.assert_close(fused.state_dict(), exact.float().state_dict(), rtol=0, atol=0)


def test_an_activation_inside_the_norm_stays() -> None:
    model = timm.create_model("test_efficientnet", num_classes=4)
    fused, report = fuse(scatter(model), torch.zeros(1, 3, 32, 32))
    images = torch.randn(2, 3, 32, 32)
    assert (norms(fused), report.left) == (0, ())
    assert isinstance(fused.bn1.act, nn.SiLU)
    torch.testing.assert_close(fused(images), outputs(model, images), rtol=1e-4, atol=1e-5)


def test_a_convolution_with_padding_of_its_own_stays_what_it_is() -> None:
    model = nn.Sequential(Conv2dSame(3, 4, 3, stride=2), nn.BatchNorm2d(4), Conv2dSame(4, 4, 3, 2, groups=4))
    model.append(nn.BatchNorm2d(4))
    images = torch.randn(2, 3, 16, 16)
    reparameterize(model, include=["2"], example_input=images)
    fused, report = fuse(scatter(model), images)
    assert [type(module) for module in fused if not isinstance(module, nn.Identity)] == [Conv2dSame, Conv2dSame]
    assert (report.grown, report.plain) == (1, 1)
    torch.testing.assert_close(fused(images), outputs(model, images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "norm",
    [
        param(nn.BatchNorm2d(4, affine=False), id="without affine"),
        param(nn.BatchNorm2d(4, momentum=None), id="cumulative"),
        param(nn.SyncBatchNorm(4), id="synchronised"),
        param(FrozenBatchNorm2d(4), id="frozen"),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_other_batch_norms_fold_too(norm: nn.Module, bias: bool, images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect", bias=bias), copy.deepcopy(norm))
    fused, _ = fuse(scatter(model), images)
    assert list(fused.state_dict()) == ["0.weight", "0.bias"]
    torch.testing.assert_close(fused(images), outputs(model, images))


def test_compiled_models_fuse_as_what_they_hold(net: TinyNet, images: Tensor) -> None:
    fused, report = fuse(torch.compile(net, backend="eager"), images)
    assert isinstance(fused, TinyNet) and report.plain == 4


def test_a_wrong_kernel_fails_the_proof(net: TinyNet, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    reparameterize(net, example_input=images)
    right = MultiBranchConv.fold

    def wrong(site: MultiBranchConv) -> tuple[Tensor, Tensor]:
        weight, bias = right(site)
        weight[0, 0, 0, 0] += 1e-7
        return weight, bias

    monkeypatch.setattr(MultiBranchConv, "fold", wrong)
    with pytest.raises(RunError, match=r"differs from the original by \d\.\de-\d+ of its largest output in float64"):
        fuse(net, images)


def test_a_wrong_bias_in_the_first_layer_of_a_deep_net_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    model = timm.create_model("mobilenetv2_035", num_classes=4)
    images = torch.zeros(1, 3, 32, 32)
    reparameterize(model, branches=1, include=["conv_stem"], example_input=images)
    right = MultiBranchConv.fold
    monkeypatch.setattr(MultiBranchConv, "fold", lambda site: (right(site)[0], right(site)[1] + 1e-6))
    with pytest.raises(RunError, match="float64"):
        fuse(model, images)


def test_outputs_that_are_not_finite_fail_the_proof(net: TinyNet, images: Tensor) -> None:
    nn.init.constant_(net.head.bias, torch.nan)
    with pytest.raises(RunError, match="differs from the original by inf"):
        fuse(net, images)


def test_a_model_that_float32_cannot_hold_is_fused_with_a_warning(
    net: TinyNet, images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    nn.init.constant_(net.down[1].weight, 1e25)
    nn.init.constant_(net.head.weight, 1e25)
    _, report = fuse(net, images)
    assert (report.difference64 < 1e-12, report.difference32) == (True, float("inf"))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "the model is unstable in float32: rounding changes its outputs by inf of the largest, fusing by inf"
    ]


def test_a_kernel_that_is_wrong_only_in_float32_fails_the_proof(
    net: TinyNet, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = proof._outputs

    def wrong(model: nn.Module, x: Tensor) -> list[Tensor]:
        shift = 1e-3 if x.dtype == torch.float32 and "stem.bias" in model.state_dict() else 0
        return [leaf + shift * leaf.abs().max() for leaf in outputs(model, x)]

    monkeypatch.setattr(proof, "_outputs", wrong)
    with pytest.raises(RunError, match=r"by 1\.\de-03 of its largest output in float32 \(allowed: 1e-04\)"):
        fuse(net, images)


@pytest.mark.parametrize("deployed", [param(False, id="no norm"), param(True, id="fused already")])
def test_nothing_to_fold_is_an_error(net: TinyNet, images: Tensor, deployed: bool) -> None:
    model = fuse(net, images)[0] if deployed else nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    with pytest.raises(RunError, match="nothing to fold"):
        fuse(model, images)
