"""A network computes the same with synchronised norms: of every family, grown or not."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.models.options import model_arguments
from ghostlab.reparam import reparameterize
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.training.build import sync_batch_norms

FAMILIES = {
    **dict.fromkeys(("ghostnetv1", "ghostnetv2", "ghostnetv3", "mobilenetv1", "mobilenetv2"), "width=0.25"),
    **dict.fromkeys(("efficientnet_b0", "efficientnetv2_b0", "efficientnet_b4_fused3", "resnet18"), "width=0.25"),
    "resnet50": "width=0.25",
    "mobilenetv3": "drop_rate=0",
}
"""Of ``conf/model``, one of each kind of network, as small as it goes."""


def built(name: str, option: str) -> nn.Module:
    torch.manual_seed(0)
    options = model_arguments(parse(compose([f"model={name}", f"model.{option}"])).model)
    return create_model(num_classes=10, **options)


def scattered(model: nn.Module) -> nn.Module:
    """Statistics and weights of norms that are not those of a fresh network."""
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("grown", [False, True], ids=["as-built", "grown"])
@pytest.mark.parametrize(("name", "option"), FAMILIES.items(), ids=list(FAMILIES))
@torch.no_grad()
def test_the_logits_are_the_same(name: str, option: str, grown: bool) -> None:
    model = built(name, option)
    if grown and name != "ghostnetv3":  # which is, as it is built
        reparameterize(model, example_input=torch.zeros(1, 3, 32, 32))
    model, image = scattered(model).eval(), torch.randn(2, 3, 32, 32)
    expected, names, norms = model(image), list(model.state_dict()), count(model, _BatchNorm)
    assert norms
    converted = sync_batch_norms(copy.deepcopy(model))
    assert count(converted, nn.SyncBatchNorm) == norms
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted(image), expected, rtol=0, atol=0)
    model.train(), converted.train()
    torch.manual_seed(1)
    expected = model(image)
    torch.manual_seed(1)
    torch.testing.assert_close(converted(image), expected, rtol=0, atol=0)


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def test_a_norm_that_does_more_is_refused() -> None:
    class Odd(BatchNormAct2d):
        pass

    with pytest.raises(UsageError, match=r"^trainer\.sync_batchnorm=true: Sequential has norms of its own, Odd$"):
        sync_batch_norms(nn.Sequential(Odd(2)))
