"""Pairs are found by what is computed; everything that would change when a pair is replaced is left alone."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from pytest import param
from timm.layers import StdConv2d
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from ghostlab.errors import UsageError
from ghostlab.reparam import find_pairs, reparameterize
from ghostlab.reparam.pairs import survey
from ghostlab.reparam.trace import default_input


class Block(nn.Module):
    """One convolution and one norm, joined as a subclass says."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Scrambled(nn.Module):
    """Defined in one order, computed in another, with names that mislead."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(6)
        self.conv1, self.conv2 = nn.Conv2d(4, 6, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv1(self.bn1(self.conv2(x)).relu()))


class UsedTwice(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class UsedThroughAView(Block):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y).flatten(1) + y.flatten(1)


class ChangedInPlace(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu_())


class Returned(Block):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        return {"features": y, "normed": self.norm(y)}


class ConvTwice(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x + 1).relu()


class NormTwice(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.norm(x[:, :1].expand(-1, 4, -1, -1))


class TwoNorms(Block):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + self.second(y)


class TwoNames(Block):
    def __init__(self) -> None:
        super().__init__()
        self.alias = self.conv


class NeverRun(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) if self.training else x


class Concatenated(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.conv(x)[:, :2], self.conv(x)[:, 2:]], 1))


class Sequence(Block):
    """A block whose parts are given."""

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm


class Scaled(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _plain() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1)


IMAGES = torch.ones(1, 3, 8, 8)


def test_pairs_come_in_the_order_of_computation() -> None:
    assert find_pairs(Scrambled(), IMAGES) == [("conv2", "bn1"), ("conv1", "bn2")]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        param(UsedTwice(), "used 2 times", id="used twice"),
        param(UsedThroughAView(), "used 2 times", id="used through a view"),
        param(ChangedInPlace(), "used 2 times", id="changed in place"),
        param(Returned(), "used 2 times", id="returned"),
        param(ConvTwice(), "conv runs 2 times", id="convolution runs twice"),
        param(NormTwice(), "it runs 2 times", id="norm runs twice"),
        param(TwoNorms(), "used 2 times", id="two norms"),
        param(TwoNames(), "two names", id="two names"),
        param(NeverRun(), "it runs 0 times", id="never run"),
        param(Concatenated(), "not the output of one convolution", id="concatenated"),
        param(Sequence(StdConv2d(3, 4, 3), nn.BatchNorm2d(4)), "not linear in a weight", id="standardised weight"),
        param(
            Sequence(nn.utils.parametrizations.weight_norm(_plain()), nn.BatchNorm2d(4)),
            "not linear in a weight",
            id="parametrized weight",
        ),
        param(Sequence(_plain(), nn.GroupNorm(2, 4)), "GroupNorm is not a batch norm", id="group norm"),
        param(
            Sequence(_plain(), nn.BatchNorm2d(4, track_running_stats=False)),
            "no running statistics",
            id="no statistics",
        ),
        param(Sequence(_plain(), Scaled(4)), "Scaled does more", id="unknown norm"),
    ],
)
def test_left_alone_with_the_reason(model: nn.Module, reason: str) -> None:
    found = survey(model, IMAGES)
    assert found.pairs == ()
    assert all(reason in why for _, why in found.left) and len(found.left) >= 1


@pytest.mark.parametrize(
    "norm",
    [
        param(nn.BatchNorm2d(4, affine=False), id="without affine"),
        param(nn.SyncBatchNorm(4), id="synchronised"),
        param(FrozenBatchNorm2d(4), id="frozen"),
    ],
)
def test_other_batch_norms_pair_too(norm: nn.Module) -> None:
    assert find_pairs(Sequence(_plain(), norm), IMAGES) == [("conv", "norm")]


def test_nothing_is_searched_inside_branches() -> None:
    assert find_pairs(reparameterize(Block(), example_input=IMAGES), IMAGES) == []


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        param("resnet10t", 14, id="resnet"),
        param("regnetx_002", 44, id="regnet"),
        param("mobilenetv3_small_050", 34, id="mobilenetv3"),
        param("tf_efficientnet_b0", 49, id="efficientnet with TF padding"),
        param("ghostnet_050", 80, id="ghostnet"),
    ],
)
def test_every_batch_norm_of_these_is_in_a_pair(name: str, pairs: int) -> None:
    model = timm.create_model(name)
    found = survey(model, torch.zeros(1, 3, 32, 32))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (len(found.pairs), found.left) == (pairs, ()) and len(norms) == pairs


def test_the_model_is_left_as_it_was() -> None:
    model = timm.create_model("test_efficientnet")
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    find_pairs(model, torch.randn(2, 3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_default_input_follows_the_model() -> None:
    assert default_input(timm.create_model("test_efficientnet", in_chans=1)).shape == (1, 1, 160, 160)
    assert default_input(nn.Sequential(nn.Conv2d(2, 4, 3)).double()).shape == (1, 2, 224, 224)


def test_an_input_that_does_not_fit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"example_input of shape \(1, 5, 8, 8\)"):
        find_pairs(Block(), torch.zeros(1, 5, 8, 8))
    with pytest.raises(UsageError, match="Linear has no convolution"):
        find_pairs(nn.Linear(2, 2))
