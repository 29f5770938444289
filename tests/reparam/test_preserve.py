"""A model that is grown with init="preserve" computes what it did, and its new branches learn."""

from __future__ import annotations

import copy

import pytest
import torch
from pytest import param
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.reparam import MultiBranchConv, reparameterize
from tests.reparam.nets import TinyNet, norms, scatter

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("training", [param(False, id="evaluation"), param(True, id="training")])
@pytest.mark.parametrize("branches", [1, 3])
def test_the_output_is_what_it_was(
    net: TinyNet, images: Tensor, dtype: torch.dtype, training: bool, branches: int
) -> None:
    net, images = net.to(dtype), images.to(dtype)
    grown = reparameterize(copy.deepcopy(net), branches, example_input=images, init="preserve")
    expected = net.train(training)(images)
    allowed = TOLERANCE[dtype] * expected.abs().max().item()
    torch.testing.assert_close(grown.train(training)(images), expected, rtol=0, atol=allowed)


def test_fresh_is_the_default_and_loses_the_weights(net: TinyNet, images: Tensor) -> None:
    grown = reparameterize(copy.deepcopy(net), example_input=images)
    assert not torch.allclose(grown.eval()(images), net.eval()(images), atol=1e-2)


@pytest.mark.parametrize(
    "norm",
    [param(nn.BatchNorm2d(4, eps=1e-2, momentum=0.3), id="plain"), param(nn.SyncBatchNorm(4), id="synchronised")],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_first_branch_takes_the_whole_norm_over(norm: nn.Module, bias: bool) -> None:
    model = scatter(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=bias), copy.deepcopy(norm)).double())
    model[1].num_batches_tracked.fill_(7)
    conv, norm = copy.deepcopy(model)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = model.eval()(images)
    site = reparameterize(model, 3, example_input=images, init="preserve")[0]
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-12)

    torch.testing.assert_close(site.conv.weight[:4], conv.weight)
    for name in ("weight", "bias", "running_var"):
        torch.testing.assert_close(getattr(site.bn, name)[:4], getattr(norm, name))
    mean = norm.running_mean - conv.bias if bias else norm.running_mean
    torch.testing.assert_close(site.bn.running_mean[:4], mean)
    assert site.bn.num_batches_tracked == 7
    assert not site.bn.weight[4:].any() and not site.bn.bias[4:].any()
    assert not site.scale.bn.weight.any() and not site.scale.bn.bias.any()


def test_statistics_without_momentum_start_again() -> None:
    """Their weight is the number of batches, of which the new branches have seen none."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=None))
    model(torch.randn(8, 3, 8, 8))
    reference, images = copy.deepcopy(model), torch.randn(8, 3, 8, 8)
    site = reparameterize(model, 2, example_input=images, init="preserve")[0]
    torch.testing.assert_close(model.eval()(images), reference.eval()(images))
    model.train()(images)
    with torch.no_grad():
        maps = torch.nn.functional.conv2d(images, site.conv.weight, padding=1)
    torch.testing.assert_close(site.bn.running_mean, maps.mean((0, 2, 3)))


def test_every_branch_contributes_after_a_few_steps(net: TinyNet, images: Tensor) -> None:
    net, images = net.double(), images.double()
    reparameterize(net, 3, example_input=images, init="preserve")
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), torch.arange(2)).backward()
        optimizer.step()
    for site, old in zip(sites(net), sites(before), strict=True):
        for branch in site.bn.weight.chunk(3)[1:]:
            assert (branch != 0).all()
        for part, old_part in ((site.scale, old.scale), (site.identity, old.identity)):
            for new, former in zip(parameters(part), parameters(old_part), strict=True):
                assert not torch.equal(new, former)
        moved = (site.conv.weight != old.conv.weight).flatten(1).any(1)
        assert moved.all()


def sites(model: nn.Module) -> list[MultiBranchConv]:
    return [module for module in model.modules() if isinstance(module, MultiBranchConv)]


def parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return list(module.parameters()) if module is not None else []


def test_a_norm_without_weights_is_refused_and_the_model_kept(net: TinyNet, images: Tensor) -> None:
    net.pointwise[1] = nn.BatchNorm2d(8, affine=False)
    before = norms(net)
    with pytest.raises(
        UsageError, match=r"init=preserve: the batch norm 'pointwise\.1' has no weight.*exclude 'pointwise\.0'"
    ):
        reparameterize(net, example_input=images, init="preserve")
    assert (norms(net), sites(net)) == (before, [])
    reparameterize(net, exclude=["pointwise.0"], example_input=images, init="preserve")
    assert len(sites(net)) == 3


def test_an_unknown_init_names_the_nearest(net: TinyNet) -> None:
    with pytest.raises(UsageError, match=r"init=preserved: no init 'preserved'; did you mean 'preserve'\?"):
        reparameterize(net, init="preserved")
