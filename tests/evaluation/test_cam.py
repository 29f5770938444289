"""Class activation maps: what they add up to, where they point, and which method is right for which model."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.evaluation.cam import class_activation, explain
from ghostlab.models import create_model

EXACT = ("test_efficientnet", "resnet18", "mobilenetv1", "mobilenetv2")
POOLED_FIRST = ("ghostnetv1", "ghostnetv2", "mobilenetv3_small_050", "mobilenetv4_conv_small_035")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def model_with_bias(name: str) -> nn.Module:
    model = create_model(name, num_classes=5, **({"width": 0.1} if name.startswith("ghost") else {})).eval()
    nn.init.normal_(model.get_classifier().weight)
    nn.init.normal_(model.get_classifier().bias)
    return model


def image(height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(3, height, width)


class Spotter(nn.Module):
    """Each class is the amount of one colour; with ``hidden`` a ReLU lies between pooling and classifier."""

    num_features = 3

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.hidden = nn.ReLU() if hidden else nn.Identity()
        self.classifier = nn.Linear(3, 3)
        nn.init.eye_(self.classifier.weight)
        nn.init.constant_(self.classifier.bias, 0.5)

    def forward_features(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 8)

    def forward_head(self, features: Tensor) -> Tensor:
        return self.classifier(self.hidden(features.mean((2, 3)) - (0.001 if isinstance(self.hidden, nn.ReLU) else 0)))

    def get_classifier(self) -> nn.Module:
        return self.classifier


@pytest.mark.parametrize("name", EXACT)
def test_the_mean_of_the_map_and_the_bias_are_the_logit(name: str) -> None:
    model, x = model_with_bias(name), image()
    logits = model(x[None])[0]
    for index in range(5):
        found = explain(model, x, index)
        assert found.method == "cam"
        logit = found.evidence.mean() + model.get_classifier().bias[index]
        torch.testing.assert_close(logit, logits[index], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.logits, logits)


def test_the_map_is_the_features_weighted_for_the_class() -> None:
    model, x = model_with_bias("resnet18"), image(64, 96)
    features = model.forward_features(x[None])[0]
    expected = torch.einsum("k,khw->hw", model.get_classifier().weight[3], features)
    found = explain(model, x, 3).evidence
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, expected)


def test_where_both_are_valid_gradcam_is_the_positive_part_of_the_map() -> None:
    model, x = model_with_bias("resnet18"), image()
    negative = 0
    for index in range(5):
        cam, gradcam = (explain(model, x, index, method).evidence for method in ("cam", "gradcam"))
        torch.testing.assert_close(gradcam, cam.relu() / 4)  # the mean's gradient: one of 2 x 2 places
        negative += int((cam < 0).sum())
    assert negative


@pytest.mark.parametrize("name", POOLED_FIRST)
def test_auto_takes_gradcam_where_a_layer_follows_the_pooling(name: str) -> None:
    model, x = model_with_bias(name), image()
    assert explain(model, x).method == "gradcam"
    with pytest.raises(UsageError, match=r"method=cam: not valid for \w+, .*; allowed: auto, gradcam"):
        explain(model, x, method="cam")


def test_gradcam_weighs_the_features_by_the_gradient_of_the_logit() -> None:
    model, x = model_with_bias("ghostnetv2"), image()
    with torch.no_grad():
        features = model.forward_features(x[None])
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(model.forward_head(features)[0, 1], features)
    expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0].relu().detach()
    torch.testing.assert_close(explain(model, x, 1).evidence, expected)


@pytest.mark.parametrize("hidden", [False, True], ids=["cam", "gradcam"])
@pytest.mark.parametrize(("color", "rows", "columns"), [(0, (0, 8), (24, 32)), (2, (16, 24), (0, 8))])
def test_the_map_is_highest_on_the_planted_object(
    hidden: bool, color: int, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    x = torch.zeros(3, 32, 32)
    x[color, slice(*rows), slice(*columns)] = 1
    x[1, 8:16, 8:16] = 2  # something else, and brighter
    heat = class_activation(Spotter(hidden), x, color)
    row, column = divmod(int(heat.argmax()), 32)
    assert rows[0] <= row < rows[1]
    assert columns[0] <= column < columns[1]
    assert explain(Spotter(hidden), x, color).method == ("gradcam" if hidden else "cam")


def test_a_trained_model_finds_the_object_that_tells_the_classes_apart() -> None:
    model = create_model("test_resnet", num_classes=2)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)

    def draw(count: int) -> tuple[Tensor, Tensor, Tensor]:
        images, classes, corners = (
            0.3 * torch.randn(count, 3, 64, 64),
            torch.arange(count) % 2,
            torch.randint(0, 2, (count, 2)),
        )
        for one, color, (top, left) in zip(images, classes, 40 * corners, strict=True):
            one[2 * color, top : top + 24, left : left + 24] += 3
        return images, classes, corners

    for _ in range(25):
        images, classes, _ = draw(16)
        F.cross_entropy(model(images), classes).backward()
        optimizer.step()
        optimizer.zero_grad()
    images, classes, corners = draw(16)
    hits = 0
    for x, index, corner in zip(images, classes, corners, strict=True):
        heat = class_activation(model, x, int(index))
        place = torch.tensor(divmod(int(heat.argmax()), 64)) >= 32
        hits += bool((place == corner.bool()).all())
    assert hits >= 14


@pytest.mark.parametrize("name", ["test_efficientnet", "ghostnetv2"])
def test_the_map_has_the_size_of_the_image_and_lies_in_0_to_1(name: str) -> None:
    heat = class_activation(model_with_bias(name), image(64, 96), 1)
    assert heat.shape == (64, 96)
    assert 0 <= heat.min() < 0.2
    assert 0.8 < heat.max() <= 1


def test_without_a_class_the_top_one_is_explained() -> None:
    model, x = model_with_bias("test_efficientnet"), image()
    assert explain(model, x).class_index == int(model(x[None]).argmax())


def test_a_map_of_one_place_is_flat() -> None:
    found = explain(model_with_bias("resnet18"), image(32, 32), 0)
    assert found.evidence.shape == (1, 1)
    assert found.flat
    assert not found.heat(32, 32).any()


def test_gradcam_is_flat_where_everything_speaks_against_the_class() -> None:
    model = Spotter(hidden=True)
    nn.init.constant_(model.classifier.weight, -1)
    found = explain(model, torch.rand(3, 32, 32), 0)
    assert (found.method, found.flat) == ("gradcam", True)


def test_the_model_stays_as_it_is() -> None:
    model = model_with_bias("ghostnetv2").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    class_activation(model, image(), 0)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


@pytest.mark.parametrize("index", [-1, 5])
def test_a_class_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(UsageError, match=f"class {index}: the model has classes 0 to 4"):
        explain(model_with_bias("test_efficientnet"), image(), index)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="method=gradcm: no method 'gradcm'; did you mean 'gradcam'"):
        explain(model_with_bias("test_efficientnet"), image(), 0, "gradcm")


def test_a_model_without_a_feature_map_is_refused() -> None:
    with pytest.raises(UsageError, match="VisionTransformer has no feature map of 64 channels"):
        explain(create_model("test_vit"), image(160, 160))
    with pytest.raises(UsageError, match="Linear has no forward_features"):
        explain(nn.Linear(1, 1), image())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcam.methods", None)
    with pytest.raises(UsageError, match=r"class activation maps need `pip install 'ghostlab\[cam\]'`"):
        explain(model_with_bias("test_efficientnet"), image())
