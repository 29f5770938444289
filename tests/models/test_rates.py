"""DropRates of dropout and stochastic depth that change while a model trains."""

from __future__ import annotations

import pytest
from pytest import approx
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.models.rates import DropRates
from ghostlab.strategies.droppath import drop_path_rates


@pytest.mark.parametrize("name", ["ghostnetv2", "efficientnet_b0", "resnet18"])
def test_stochastic_depth_keeps_the_rule_of_the_model(name: str) -> None:
    width = {"width": 0.1} if name == "ghostnetv2" else {}
    model = create_model(name, num_classes=10, drop_rate=0.2, drop_path_rate=0.4, **width)
    before = drop_path_rates(model)
    rates = DropRates(model, {"model.drop_rate": 0.2, "model.drop_path_rate": 0.4})
    rates.set({"model.drop_path_rate": 0.1})
    assert drop_path_rates(model) == approx([rate / 4 for rate in before])
    assert model.drop_rate == 0.2
    rates.set({"model.drop_rate": 0.0, "model.drop_path_rate": 0.0})
    assert (model.drop_rate, max(drop_path_rates(model))) == (0, 0)
    rates.set({"model.drop_rate": 0.2, "model.drop_path_rate": 0.4})
    assert (model.drop_rate, drop_path_rates(model)) == (0.2, approx(before))


def test_dropout_may_be_layers_and_others_are_left_alone() -> None:
    model = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.1))
    DropRates(model, {"model.drop_rate": 0.3}).set({"model.drop_rate": 0.2, "mixup.alpha": 0.5})
    assert [layer.p for layer in model] == [0.2, 0.1]


@pytest.mark.parametrize("key", ["model.drop_rate", "model.drop_path_rate"])
def test_a_model_without_such_layers_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match=rf"{key}=0\.2: Linear has no layer whose rate could change"):
        DropRates(nn.Linear(1, 1), {key: 0.2})
