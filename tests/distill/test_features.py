"""The distance of features against loops over numbers, and tapping the stages of real networks."""

from __future__ import annotations

import copy

import pytest
import torch
from pytest import approx, param
from torch import nn

from ghostlab.distill import feature
from ghostlab.distill.features import Projections, Taps, feature_parts
from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.testing.tiny import TinyNet
from tests.distill import by_hand

torch.manual_seed(2)
IMAGES = torch.randn(2, 3, 32, 32)


def test_one_place_by_hand() -> None:
    student, teacher = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([0.0, 7.0]).view(1, 2, 1, 1)
    assert feature([student], [teacher]).item() == approx(2 - 2 * 0.8, rel=1e-5)


@pytest.mark.parametrize(("ours", "theirs"), [(2, 2), (4, 2), (2, 4)])
def test_maps_are_averaged_to_the_smaller_size_and_compared_by_direction(ours: int, theirs: int) -> None:
    student, teacher = torch.randn(3, 5, ours, ours), torch.randn(3, 5, theirs, theirs)
    each = [
        by_hand.directions(s.tolist(), t.tolist(), min(ours, theirs)) for s, t in zip(student, teacher, strict=True)
    ]
    assert feature_parts([student], [teacher])[0].item() == approx(sum(each) / 3, rel=1e-4)


def test_stages_are_added_and_targets_not_looked_at() -> None:
    pairs = [(torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)) for _ in range(2)]
    students, teachers = zip(*pairs, strict=True)
    parts = feature_parts(students, teachers)
    assert feature(students, teachers, torch.full((2, 4), 0.25)).item() == approx(sum(parts).item())


def test_the_scale_of_features_does_not_count() -> None:
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    assert feature([student * 1e3], [teacher * 1e-3]).item() == approx(feature([student], [teacher]).item(), rel=1e-4)
    assert feature([teacher * 5], [teacher]).item() == approx(0, abs=1e-5)


def test_half_precision_is_computed_in_float32_and_dead_features_stay_finite() -> None:
    student = torch.zeros(2, 4, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    loss = feature([student], [torch.randn(2, 4, 3, 3)])
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "stages", "channels", "sides"),
    [
        param("ghostnetv2", [-1, 1], [160, 24], [1, 8], id="ghostnet"),
        param("resnet10t", [2], [128], [4], id="resnet"),
        param("efficientnet_b0", [0], [16], [16], id="efficientnet"),
    ],
)
def test_taps_give_the_chosen_stages_once(name: str, stages: list[int], channels: list[int], sides: list[int]) -> None:
    model = create_model(name, num_classes=4).eval()
    taps = Taps(model, stages, "student")
    with torch.no_grad():
        model(IMAGES)
    maps = taps.features()
    assert [tuple(m.shape) for m in maps] == [(2, c, s, s) for c, s in zip(channels, sides, strict=True)]
    with pytest.raises(UsageError, match="is not run as a whole"):
        taps.features()


def test_a_copy_of_a_tapped_model_is_not_listened_to() -> None:
    model = create_model("resnet10t", num_classes=4).eval()
    taps = Taps(model, [-1], "student")
    with torch.no_grad():
        model(IMAGES)
        copy.deepcopy(model)(2 * IMAGES)
        first = taps.features()[0]
        model(IMAGES)
    assert torch.equal(first, taps.features()[0])


def test_a_compiled_model_is_listened_to() -> None:
    model = TinyNet().train()
    taps = Taps(model, [0, -1], "student")
    compiled = torch.compile(model, backend="eager")
    for images in (torch.randn(2, 3, 16, 16), torch.randn(3, 3, 16, 16)):
        compiled(images)
        first, last = taps.features()
        torch.testing.assert_close(first, model.blocks[0](model.stem(images)))
        last.square().mean().backward()
    assert model.stem.weight.grad.abs().sum() > 0


def test_what_cannot_be_tapped_is_refused_in_one_line() -> None:
    resnet = create_model("resnet10t", num_classes=4)
    with pytest.raises(UsageError, match=r"^stages=5: the teacher has stages from -5 to 4"):
        Taps(resnet, [5], "teacher")
    with pytest.raises(UsageError, match=r"^kind=feature: the student Linear lists no stages"):
        Taps(nn.Linear(2, 2), [-1], "student")
    vit = create_model("vit_tiny_patch16_224", num_classes=4, img_size=32).eval()
    taps = Taps(vit, [-1], "teacher")
    vit(IMAGES)
    with pytest.raises(UsageError, match=r"'blocks\.11' of the teacher gives no map"):
        taps.features()


def test_projections_bring_the_students_channels_to_the_teachers() -> None:
    student, teacher = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)], [torch.randn(2, 8, 4, 4)] * 2
    projections = Projections(student, teacher)
    projected = projections(student)
    assert [tuple(p.shape) for p in projected] == [(2, 8, 4, 4), (2, 8, 2, 2)]
    weight = projections[0].weight[:, :, 0, 0]
    torch.testing.assert_close(projected[0], torch.einsum("oc,bchw->bohw", weight, student[0]))
