"""What a teacher sees of the student's images, and several teachers as one."""

from __future__ import annotations

import math

import pytest
import torch
from pytest import approx, param
from torch import Tensor, nn

from ghostlab.distill import Preprocessing, Teacher, answers
from ghostlab.distill.teachers import Committee

STUDENTS = Preprocessing((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), (8,))
PIXELS = torch.rand(2, 3, 8, 8)


def prepared(pixels: Tensor, how: Preprocessing) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
    return (pixels - mean) / std


class Eye(nn.Module):
    """Keeps the images that it is shown, and answers with their means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dropout = nn.Conv2d(3, 4, 1), nn.Dropout(0.9)
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.dropout(self.conv(images)).mean((2, 3))


def seen_by(wanted: Preprocessing, images: Tensor) -> Tensor:
    teacher = Teacher(Eye(), STUDENTS, wanted)
    answers(teacher, images)
    return teacher.model.seen


def test_the_same_preprocessing_gives_the_same_tensor() -> None:
    images = prepared(PIXELS, STUDENTS)
    assert seen_by(STUDENTS, images) is images
    assert seen_by(Preprocessing(STUDENTS.mean, STUDENTS.std), images) is images


def test_a_normalisation_of_its_own_is_that_of_the_same_pixels() -> None:
    wanted = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (8,))
    torch.testing.assert_close(seen_by(wanted, prepared(PIXELS, STUDENTS)), prepared(PIXELS, wanted))


@pytest.mark.parametrize("side", [4, 20])
def test_a_size_of_its_own_is_resized_to(side: int) -> None:
    wanted = Preprocessing((0.0,) * 3, (1.0,) * 3, (side,))
    flat = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    seen = seen_by(wanted, prepared(flat, STUDENTS))
    torch.testing.assert_close(seen, flat[..., :1, :1].expand(2, 3, side, side), rtol=0, atol=1e-5)


def test_either_of_several_sizes_is_taken_as_it_is_and_any_other_made_the_first() -> None:
    wanted = Preprocessing(STUDENTS.mean, STUDENTS.std, (16, 8))
    assert seen_by(wanted, PIXELS).shape[-1] == 8
    assert seen_by(wanted, torch.rand(2, 3, 12, 12)).shape[-1] == 16


def test_a_teacher_is_in_evaluation_without_gradients_and_channels_last() -> None:
    teacher = Teacher(Eye(), STUDENTS, STUDENTS)
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert teacher.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert not answers(teacher, PIXELS.requires_grad_()).requires_grad
    PIXELS.requires_grad_(False)


def test_a_teacher_follows_the_images_and_answers_in_the_type_of_autocast() -> None:
    teacher = Teacher(Eye(), STUDENTS, Preprocessing((0.5,) * 3, (0.5,) * 3, (4,)))
    assert answers(teacher, PIXELS.double()).dtype == torch.float64
    assert answers(teacher, PIXELS).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert answers(teacher, PIXELS).dtype == torch.bfloat16


class Constant(nn.Module):
    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([probabilities]).log())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1) + 3.0


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        param([1.0, 1.0], [0.5, 0.3, 0.2], id="equal"),
        param([3.0, 1.0], [0.65, 0.2, 0.15], id="weighted"),
        param([0.75, 0.25], [0.65, 0.2, 0.15], id="any-sum"),
    ],
)
def test_several_teachers_answer_with_the_mean_of_their_probabilities(
    weights: list[float], expected: list[float]
) -> None:
    together = Committee([Constant(0.8, 0.1, 0.1), Constant(0.2, 0.5, 0.3)], weights)
    assert answers(together, PIXELS).softmax(1)[1].tolist() == approx(expected, rel=1e-5)


def test_a_certain_committee_stays_finite() -> None:
    one = Constant(1.0, math.exp(-80), math.exp(-80))
    logits = answers(Committee([one, one], [1, 1]), PIXELS)
    assert logits[0].tolist() == approx([0, -80, -80], abs=1e-4)
