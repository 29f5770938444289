"""A model takes the weights of any form: plain, grown or deployed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.reparam import MultiBranchConv, adopt_layout, fuse, reparameterize
from tests.reparam.nets import TinyNet, scatter

FORMS = ["plain", "grown", "deployed"]


def in_form(model: nn.Module, form: str, images: Tensor) -> nn.Module:
    if form == "plain":
        return model
    reparameterize(model, branches=2, example_input=images)
    return scatter(model) if form == "grown" else fuse(scatter(model), images)[0]


def tiny() -> nn.Module:
    return scatter(TinyNet())


def with_activations() -> nn.Module:
    """Norms with an activation inside, an eps that is not the default, and convolutions that pad by themselves."""
    return scatter(timm.create_model("test_efficientnet", num_classes=4, bn_eps=1e-2, pad_type="same"))


@pytest.mark.parametrize("build", [tiny, with_activations])
@pytest.mark.parametrize("before", FORMS)
@pytest.mark.parametrize("after", FORMS)
def test_any_form_takes_the_weights_of_any_other(
    build: Callable[[], nn.Module], before: str, after: str, images: Tensor
) -> None:
    source = in_form(build(), after, images)
    model = in_form(build(), before, images)
    assert adopt_layout(model, source.state_dict(), images) is model
    model.load_state_dict(source.state_dict())
    torch.testing.assert_close(model.eval()(images), source.eval()(images))


def test_only_the_sites_that_differ_change(net: TinyNet, images: Tensor) -> None:
    source = reparameterize(TinyNet(), branches=4, include=["stem"], example_input=images)
    depthwise, norm = net.depthwise[0], net.depthwise[1]
    adopt_layout(net, source.state_dict(), images)
    assert isinstance(net.stem, MultiBranchConv) and net.stem.branches == 4
    assert net.depthwise[0] is depthwise and net.depthwise[1] is norm


def test_branches_change_in_number_and_kind(net: TinyNet, images: Tensor) -> None:
    reparameterize(net, branches=3, example_input=images)
    source = reparameterize(TinyNet(), branches=2, scale=False, identity=False, example_input=images)
    adopt_layout(net, source.state_dict(), images)
    net.load_state_dict(source.state_dict())
    assert (net.depthwise[0].branches, net.depthwise[0].scale, net.depthwise[0].identity) == (2, None, None)


def test_modes_and_dtype_are_kept(net: TinyNet, images: Tensor) -> None:
    fused, _ = fuse(net, images)
    model = copy.deepcopy(fused).double()
    adopt_layout(model, net.state_dict(), images.double())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64, torch.int64}
    assert not any(module.training for module in model.modules())


class Unrunnable(TinyNet):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the model ran")


def test_the_model_only_runs_if_a_form_differs(net: TinyNet, images: Tensor) -> None:
    adopt_layout(Unrunnable(), net.state_dict(), images)
    with pytest.raises(UsageError, match="the model ran"):
        adopt_layout(Unrunnable(), fuse(net, images)[0].state_dict(), images)


@pytest.mark.parametrize("form", FORMS)
def test_foreign_keys_change_nothing(form: str, images: Tensor) -> None:
    model = in_form(tiny(), form, images)
    before = copy.deepcopy(model.state_dict())
    adopt_layout(model, {f"net.{name}": value for name, value in tiny().state_dict().items()}, images)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_site_without_the_keys_of_a_form_is_left(net: TinyNet, images: Tensor) -> None:
    state = {name: value for name, value in net.state_dict().items() if not name.startswith("stem")}
    stem = net.stem
    adopt_layout(net, state, images)
    assert net.stem is stem
    with pytest.raises(RuntimeError, match=r"stem\.weight"):
        net.load_state_dict(state)
