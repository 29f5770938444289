"""A copy of a model is what ``copy.deepcopy`` makes of it."""

from __future__ import annotations

import torch
from torch import nn

import ghostlab
from ghostlab.reparam.copying import copy_of


def test_a_copy_computes_the_same_and_shares_nothing() -> None:
    model = ghostlab.create_model("ghostnetv3", num_classes=3, width=0.1).eval()
    copied, images = copy_of(model), torch.randn(2, 3, 33, 33)
    assert torch.equal(copied(images), model(images))
    owned = {value.data_ptr() for value in model.state_dict().values()}
    assert not owned & {value.data_ptr() for value in copied.state_dict().values()}


def test_hooks_are_copied_and_added_to_one_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].register_forward_hook(lambda module, given, answer: answer + 1)
    copied = copy_of(model)
    copied[0].register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    images = torch.ones(1, 2)
    assert torch.equal(copied(images), model(2 * images))
    assert (len(model[0]._forward_hooks), len(model[0]._forward_pre_hooks)) == (1, 0)


def test_what_is_shared_within_a_model_stays_shared() -> None:
    layer = nn.Linear(2, 2)
    copied = copy_of(nn.Sequential(layer, nn.ReLU(), layer))
    assert copied[0] is copied[2]
    assert copied[0].weight is copied[2].weight
