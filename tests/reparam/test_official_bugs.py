"""What goes wrong in the authors' GhostNetV3 code, and in timm's copy of it, each as a case that holds here.

The authors' code: https://github.com/huawei-noah/Efficient-AI-Backbones, ``ghostnetv3_pytorch``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from pytest import param
from torch import Tensor, nn

import ghostlab
from ghostlab.errors import RunError
from ghostlab.models import ghostnet
from ghostlab.models.ghost_blocks import BlockRow
from ghostlab.reparam import MultiBranchConv
from tests.reparam.families import BRANCHED
from tests.reparam.nets import norms, scatter

SIZE = 64
NARROW = {"num_classes": 7, "width": 0.2, "depth": 0.1}
"""Of each run of blocks one: all that are left fold, and the last is on a map of two pixels."""


def ghostnetv3(**options: object) -> nn.Module:
    return scatter(ghostlab.create_model("ghostnetv3", **{**NARROW, **options}))


def assert_fuses(model: nn.Module) -> nn.Module:
    """The fused copy, whose outputs in float64 are those of ``model``."""
    model, images = model.double(), torch.randn(2, 3, SIZE, SIZE, dtype=torch.float64)
    fused, report = ghostlab.fuse(model, images)
    assert (norms(fused), report.left) == (0, ())
    with torch.no_grad():
        torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)
    return fused


def identities(model: nn.Module, which: str) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, MultiBranchConv) and module.identity is not None and which in name
    ]


@pytest.mark.parametrize("width", [0.1, 0.15, 0.35])
def test_identity_of_a_dense_primary_convolution(width: float) -> None:
    """There, its kernel has the shape of the cheap convolution: fusing succeeds, and the fused model crashes."""
    model = ghostnetv3(width=width)
    sites = identities(model, "primary_conv")
    assert sites
    fused = assert_fuses(model)
    for name in sites:
        conv = fused.get_submodule(name)
        assert conv.kernel_size == (1, 1) and conv.weight.shape[:2] == (conv.out_channels, conv.in_channels)


def test_a_table_with_twice_as_many_expanded_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """``exp = 2 * in`` gives any width such an identity."""
    table = ((BlockRow(3, 16, 16, False, 1),), (BlockRow(3, 32, 24, False, 2),), (BlockRow(5, 48, 40, True, 2),))
    monkeypatch.setattr(ghostnet, "STAGES", table)
    model = ghostnetv3(width=1.0, depth=1.0)
    assert len(identities(model, "ghost1.primary_conv")) == 2
    assert_fuses(model)


def test_depthwise_convolutions_of_a_bottleneck_have_their_own_groups() -> None:
    """There, the method that folds them reads the number of groups from an attribute that is never set."""
    model = ghostnetv3()
    sites = [
        name for name, module in model.named_modules() if isinstance(module, MultiBranchConv) and "conv_dw" in name
    ]
    assert len(sites) == 4
    fused = assert_fuses(model)
    assert all(fused.get_submodule(name).groups == fused.get_submodule(name).in_channels for name in sites)


@pytest.mark.parametrize("fused", [param(False, id="training layout"), param(True, id="fused")])
def test_a_batch_of_one_keeps_its_batch(fused: bool) -> None:
    """There, ``squeeze()`` at the end takes it away."""
    model = ghostnetv3().eval()
    images = torch.randn(1, 3, SIZE, SIZE)
    model = ghostlab.fuse(model, images)[0] if fused else model
    assert model(images).shape == (1, 7)


def test_classes_and_dropout_are_heeded() -> None:
    """There, both are ignored."""
    model = ghostnetv3(drop_rate=0.9).train()
    assert model.get_classifier().out_features == 7
    images = torch.randn(4, 3, SIZE, SIZE)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eval()
    assert not torch.equal(model(images), model(images))


def test_every_parameter_can_be_trained_after_fusing() -> None:
    """There, and in timm, 36 of 330 can be."""
    fused, _ = ghostlab.fuse(ghostnetv3(), torch.randn(1, 3, SIZE, SIZE))
    before = [parameter.detach().clone() for parameter in fused.parameters()]
    optimizer = torch.optim.SGD(fused.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(fused.train()(torch.randn(4, 3, SIZE, SIZE)), torch.arange(4)).backward()
        optimizer.step()
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in fused.parameters())
    moved = [not torch.equal(old, new) for old, new in zip(before, fused.parameters(), strict=True)]
    assert sum(moved) > 0.5 * len(moved)  # without norms, the first steps of a deep net leave dead channels alone


def test_a_deployed_model_is_built_directly() -> None:
    """There, the flag for it builds another layout, which the weights of a fused model do not fit."""
    fused, _ = ghostlab.fuse(ghostnetv3(), torch.randn(1, 3, SIZE, SIZE))
    model = ghostlab.create_model("ghostnetv3", **NARROW, layout="deployed")
    model.load_state_dict(fused.state_dict(), strict=True)
    images = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(model.eval()(images), fused(images))


@pytest.mark.parametrize("build", [param(ghostnetv3, id="own"), param(BRANCHED["ghostnetv3"], id="timm")])
def test_nothing_is_left_over(build: Callable[[], nn.Module]) -> None:
    """There, identity kernels stay as plain tensors, which ``.to()`` does not reach, and 54 batch norms stay too."""
    fused, report = ghostlab.fuse(build(), torch.randn(1, 3, SIZE, SIZE))
    assert (norms(fused), report.left) == (0, ())
    kept = [name for module in fused.modules() for name, value in vars(module).items() if isinstance(value, Tensor)]
    assert kept == []
    assert not any("rpr" in name or "branch" in name for name in fused.state_dict())


def test_a_fused_model_can_be_traced_symbolically() -> None:
    """There, ``torch.jit.script`` fails."""
    images = torch.randn(2, 3, SIZE, SIZE)
    fused, _ = ghostlab.fuse(ghostnetv3(), images)
    torch.testing.assert_close(torch.fx.symbolic_trace(fused)(images), fused(images))


def test_fusing_a_fused_model_says_that_there_is_nothing_to_fold() -> None:
    fused, _ = ghostlab.fuse(ghostnetv3(), torch.randn(1, 3, SIZE, SIZE))
    before = copy.deepcopy(fused.state_dict())
    with pytest.raises(RunError, match="nothing to fold"):
        ghostlab.fuse(fused, torch.randn(1, 3, SIZE, SIZE))
    torch.testing.assert_close(fused.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("size", [32, SIZE])
def test_small_images_in_evaluation_and_a_batch_of_one_when_fine_tuning(size: int) -> None:
    """There, the attention has no pixel left at 32 px, and at 64 px one, whose batch norm refuses a batch of one."""
    model, images = ghostnetv3(), torch.randn(1, 3, size, size)
    assert model.train()(torch.randn(2, 3, size, size)).shape == (2, 7)
    fused, _ = ghostlab.fuse(model, images)
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=1e-4, atol=1e-4)
    output = fused.train()(images)
    output.sum().backward()
    assert output.shape == (1, 7)


@pytest.mark.parametrize("shape", [(96, 64), (7 * 32, 5 * 32), (75, 97)])
def test_images_that_are_not_square(shape: tuple[int, int]) -> None:
    """There, an early version resized the attention's map by one size only."""
    model = ghostnetv3().double()
    images = torch.randn(1, 3, *shape, dtype=torch.float64)
    fused, _ = ghostlab.fuse(model, images)
    torch.testing.assert_close(fused(images), model.eval()(images), rtol=0, atol=1e-12)
