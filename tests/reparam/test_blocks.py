"""Blocks with a method that collapses them are collapsed by it: exactly, completely, and without its side effects."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from pytest import param
from timm.models import fastvit
from timm.models.byobnet import RepVggBlock
from timm.models.ghostnet import GhostModuleV3
from timm.models.repghost import RepGhostModule
from timm.models.repvit import RepVit
from torch import Tensor, nn

from ghostlab.errors import RunError
from ghostlab.reparam import FuseReport, MultiBranchConv, deployed, fuse, reparameterize
from ghostlab.reparam.blocks import collapsible
from tests.reparam.nets import norms, scatter


class Block(nn.Module):
    """Two branches, and a gate that is kept; ``reparameterize`` does to its parameters what timm's does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.identity = nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.reparam_conv: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x)) + self.identity(x) if self.reparam_conv is None else self.reparam_conv(x)
        return y * self.gate(y).sigmoid()

    def collapsed(self) -> nn.Conv2d:
        factor, shift = factor_and_shift(self.bn)
        skip, skip_shift = factor_and_shift(self.identity)
        self.kernel = self.conv.weight * factor.view(-1, 1, 1, 1) + centre(skip)
        conv = nn.Conv2d(8, 8, 3, padding=1)
        conv.weight.data, conv.bias.data = self.kernel, shift + skip_shift
        return conv

    def reparameterize(self) -> None:
        self.reparam_conv = self.collapsed()
        for parameter in self.gate.parameters():
            parameter.detach_()
        del self.conv, self.bn, self.identity


class Failing(Block):
    def reparameterize(self) -> None:
        del self.conv
        raise ValueError("a kernel of\nanother size")


class Wrong(Block):
    def collapsed(self) -> nn.Conv2d:
        conv = super().collapsed()
        conv.bias.data = conv.bias.data + 1e-3
        return conv


class Replaced(nn.Module):
    """``fuse`` returns another module."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.bn = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.c(x))

    def fuse(self) -> nn.Conv2d:
        factor, shift = factor_and_shift(self.bn)
        conv = nn.Conv2d(8, 8, 1)
        conv.weight.data, conv.bias.data = self.c.weight * factor.view(-1, 1, 1, 1), shift
        return conv


class Joins(Replaced):
    """A method of that name that does something else."""

    def fuse(self, other: Tensor) -> Tensor:
        return other


class Counts(Replaced):
    def fuse(self) -> int:
        return 1


def factor_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    return factor, norm.bias - norm.running_mean * factor


def centre(values: Tensor) -> Tensor:
    return nn.functional.pad(torch.diag(values).view(8, 8, 1, 1), [1, 1, 1, 1])


def with_stem(*blocks: nn.Module) -> nn.Module:
    return scatter(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), *blocks))


def counts(report: FuseReport) -> tuple[int, int, int]:
    return report.blocks, report.plain, len(report.left)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [param(Block, id="changes itself"), param(Replaced, id="returns another")])
def test_a_block_collapses_by_its_method(block: type[nn.Module], dtype: torch.dtype, images: Tensor) -> None:
    model, images = with_stem(block()).to(dtype), images.to(dtype)
    fused, report = fuse(model, images)
    assert (norms(fused), counts(report)) == (0, (1, 1, 0))
    assert {tensor.dtype for tensor in fused.state_dict().values()} == {dtype}
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=tolerance)
    again = copy.deepcopy(fused)
    again.load_state_dict(fused.state_dict())
    torch.testing.assert_close(again(images), fused(images))
    assert "1 blocks by their own method" in str(report)


def test_kernels_are_computed_in_float64_and_rounded_once(images: Tensor) -> None:
    model = with_stem(Block())
    exact, _ = fuse(copy.deepcopy(model).double(), images.double())
    fused, _ = fuse(model, images)
    torch.testing.assert_close(fused.state_dict(), exact.float().state_dict(), rtol=0, atol=0)


def test_what_is_new_is_trainable_and_what_stays_as_it_was(images: Tensor) -> None:
    model = with_stem(Block())
    model[2].gate.bias.requires_grad_(False)
    fused, _ = fuse(model, images)
    assert {name for name, value in fused[2].named_parameters() if not value.requires_grad} == {"gate.bias"}
    assert "kernel" not in vars(fused[2]) and torch.get_default_dtype() == torch.float32


def test_the_kernel_gives_the_precision_not_a_norm_before_it() -> None:
    model = with_stem(fastvit.MobileOneBlock(8, 8, 3)).bfloat16()
    assert next(model[2].parameters()) is model[2].identity.weight
    model[2].identity.float()
    assert deployed(model, torch.zeros(1, 3, 16, 16).bfloat16())[2].reparam_conv.weight.dtype == torch.bfloat16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_stays(images: Tensor) -> None:
    fused, _ = fuse(with_stem(Block(), Replaced()).cuda(), images.cuda())
    assert {tensor.device.type for tensor in fused.state_dict().values()} == {"cuda"}
    assert fused(images.cuda()).shape == (2, 8, 8, 8)


def test_modes_stay(images: Tensor) -> None:
    model = with_stem(Block())
    model[2].gate.eval()
    changed = deployed(model, images)
    assert [changed.training, changed[2].training, changed[2].gate.training] == [True, True, False]
    assert changed[2].reparam_conv.training


@pytest.mark.parametrize("block", [Block, Replaced])
def test_hooks_stay(block: type[nn.Module], images: Tensor) -> None:
    model, seen = with_stem(block()), []
    model[2].register_forward_hook(lambda module, args, output: seen.append(output))
    fused, _ = fuse(model, images)
    seen.clear()
    output = fused(images)
    assert len(seen) == 1 and seen[0] is output


def test_a_block_with_two_names_is_replaced_under_both(images: Tensor) -> None:
    shared = Replaced()
    fused, report = fuse(with_stem(shared, nn.ReLU(), shared), images)
    assert isinstance(fused[2], nn.Conv2d) and fused[4] is fused[2]
    assert counts(report) == (1, 1, 0)


def test_a_block_whose_method_fails_is_folded_as_far_as_pairs_go(images: Tensor) -> None:
    fused, report = fuse(with_stem(Failing()), images)
    assert counts(report) == (0, 2, 1) and norms(fused) == 1
    [(name, reason)] = report.left
    assert name == "2.identity"
    assert reason.endswith("; reparameterize() of Failing fails: a kernel of")


def test_a_block_whose_method_is_wrong_fails_the_proof(images: Tensor) -> None:
    with pytest.raises(RunError, match="differs from the original"):
        fuse(with_stem(Wrong()), images)


@pytest.mark.parametrize("block", [param(Joins, id="takes arguments"), param(Counts, id="returns a number")])
def test_a_method_of_another_kind_is_left_alone(block: type[nn.Module], images: Tensor) -> None:
    fused, report = fuse(with_stem(block()), images)
    assert counts(report) == (0, 2, 0) and type(fused[2]) is block


def test_a_collapsed_model_has_nothing_to_fold(images: Tensor) -> None:
    fused, _ = fuse(with_stem(Block()), images)
    assert collapsible(fused) == []
    with pytest.raises(RunError, match="nothing to fold"):
        fuse(fused, images)


@pytest.mark.parametrize("branches", [1, 3])
def test_branches_grown_inside_a_block_collapse_with_it(branches: int, images: Tensor) -> None:
    model, images = with_stem(Block()).double(), images.double()
    scatter(reparameterize(model, branches, example_input=images))
    assert isinstance(model[2].conv, MultiBranchConv)
    fused, report = fuse(model, images)
    assert (norms(fused), report.grown, counts(report)) == (0, 2, (1, 0, 0))
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)


class Outer(nn.Module):
    """A block whose method has no use for the branches beside its block, and which timm's walk visits first."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.conv, self.bn = Block(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.inner(x)))

    def switch_to_deploy(self) -> None:
        """Nothing: this block has no branches of its own."""


def test_branches_that_a_method_does_not_use_are_folded_as_elsewhere(images: Tensor) -> None:
    model = reparameterize(with_stem(Outer()), 2, example_input=images)
    exact, report = fuse(copy.deepcopy(model).double(), images.double())
    assert (norms(exact), report.grown, counts(report)) == (0, 3, (1, 0, 0))
    fused, _ = fuse(model, images)
    torch.testing.assert_close(fused[2].conv.weight, exact[2].conv.weight.float(), rtol=0, atol=0)


@pytest.mark.parametrize("legacy", [True, False])
def test_repvit_folds_its_two_classifiers_into_one(legacy: bool) -> None:
    model = RepVit(embed_dim=(8, 16), depth=(1, 1), num_classes=4, distillation=True, legacy=legacy)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    model = scatter(model).double()
    fused, report = fuse(model, images)
    assert (norms(fused), report.left) == (0, ())
    assert isinstance(fused.head, nn.Linear) and fused.head.out_features == 4
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)


def test_a_wrong_kernel_behind_a_small_layer_scale_fails_the_proof(
    monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    model = with_stem(fastvit.RepMixer(8, layer_scale_init_value=1e-12))
    right = fastvit.MobileOneBlock._get_kernel_bias

    def wrong(block: fastvit.MobileOneBlock) -> tuple[Tensor, Tensor]:
        kernel, bias = right(block)
        return kernel + 1e-6 * block.num_conv_branches, bias  # the mixer's, not its norm's, which has none

    _, report = fuse(model, images)
    assert counts(report) == (1, 1, 0)
    monkeypatch.setattr(fastvit.MobileOneBlock, "_get_kernel_bias", wrong)
    with pytest.raises(RunError, match="float64"):
        fuse(model, images)


@pytest.mark.parametrize(
    "block",
    [
        param(lambda: fastvit.RepConditionalPosEnc(8), id="positions"),
        param(lambda: fastvit.ReparamLargeKernelConv(8, 8, 7, 1, 1, small_kernel=3), id="large kernel"),
        param(lambda: fastvit.ReparamLargeKernelConv(8, 16, 7, 2, 1, small_kernel=3, use_se=True), id="strided"),
        param(lambda: fastvit.RepMixer(8, layer_scale_init_value=None), id="mixer without layer scale"),
        param(lambda: fastvit.MobileOneBlock(8, 8, 3, num_conv_branches=2, use_se=True), id="MobileOne"),
        param(lambda: RepVggBlock(8, 8), id="RepVGG"),
        param(lambda: RepVggBlock(8, 12, stride=2, group_size=4), id="RepVGG, grouped, strided"),
        param(lambda: RepGhostModule(8, 12), id="RepGhost"),
        param(lambda: GhostModuleV3(8, 16), id="GhostNetV3"),
    ],
)
def test_blocks_of_timm(block: Callable[[], nn.Module], images: Tensor) -> None:
    model, images = with_stem(block()).double(), images.double()
    fused, report = fuse(model, images)
    assert (norms(fused), report.blocks, report.left) == (0, 1, ())
    assert all(parameter.requires_grad for parameter in fused.parameters())
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)
    assert not any(isinstance(value, Tensor) for module in fused.modules() for value in vars(module).values())
