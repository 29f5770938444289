"""Decoupled distillation against loops over numbers, for certain, mixed and smoothed targets."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pytest import approx, param

from ghostlab.distill import dkd, soft
from ghostlab.distill.decoupled import dkd_parts
from ghostlab.strategies.smoothing import smooth
from tests.distill import by_hand

torch.manual_seed(0)
STUDENT, TEACHER = 2 * torch.randn(6, 5), 3 * torch.randn(6, 5)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
CERTAIN = F.one_hot(LABELS, 5).float()
MIXED = CERTAIN.lerp(CERTAIN.flip(0), 0.3)


def test_one_image_by_hand() -> None:
    # Student (1/2, 1/4, 1/4), teacher (1/2, 3/8, 1/8): equally sure of class 0, the others ranked (3/4, 1/4).
    student, teacher = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.5, 0.375, 0.125]]).log()
    parts = dkd_parts(student, teacher, torch.tensor([0]))
    assert parts.target.item() == approx(0, abs=1e-6)
    assert parts.others.item() == approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


@pytest.mark.parametrize("tau", [1.0, 4.0])
@pytest.mark.parametrize(
    "target",
    [
        param(LABELS, id="indices"),
        param(MIXED, id="mixed"),
        param(smooth(LABELS, 5, 0.1), id="smoothed"),
        param(smooth(MIXED, 5, 0.1), id="mixed-and-smoothed"),
    ],
)
def test_both_parts_are_those_of_the_formula(target: torch.Tensor, tau: float) -> None:
    probabilities = target if target.ndim == 2 else CERTAIN
    expected = by_hand.dkd(STUDENT.tolist(), TEACHER.tolist(), probabilities.tolist(), tau)
    assert [part.item() for part in dkd_parts(STUDENT, TEACHER, target, tau=tau)] == approx(expected, rel=1e-4)
    weighted = dkd(STUDENT, TEACHER, target, tau=tau, target_weight=0.3, others_weight=8.0)
    assert weighted.item() == approx(0.3 * expected[0] + 8 * expected[1], rel=1e-4)


def test_a_certain_mixture_is_a_certain_target() -> None:
    assert dkd(STUDENT, TEACHER, CERTAIN) == dkd(STUDENT, TEACHER, LABELS)


def test_weighted_by_the_teachers_doubt_the_parts_are_the_plain_divergence() -> None:
    doubt = 1 - TEACHER.softmax(1)[torch.arange(6), LABELS]
    rows = [dkd_parts(STUDENT[i : i + 1], TEACHER[i : i + 1], LABELS[i : i + 1]) for i in range(6)]
    total = sum(parts.target + d * parts.others for parts, d in zip(rows, doubt, strict=True)) / 6
    assert total.item() == approx(soft(STUDENT, TEACHER).item(), rel=1e-5)


@pytest.mark.parametrize("gap", [20.0, 200.0, 1e4])
@pytest.mark.parametrize("target", [torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.5, 0.5, 0.0]])])
def test_certain_answers_stay_finite_and_keep_their_ranking(gap: float, target: torch.Tensor) -> None:
    student = torch.tensor([[gap, 0.5, 0.0]], requires_grad=True)
    teacher = torch.tensor([[gap, math.log(3), 0.0]])
    parts = dkd_parts(student, teacher, target)
    sum(parts).backward()
    assert all(part.isfinite() for part in parts)
    assert student.grad.isfinite().all()
    if target.tolist() == [0]:
        assert parts.target.item() == approx(0, abs=1e-6)
        others = by_hand.divergence([0.75, 0.25], by_hand.softmax([0.5, 0.0], 1))
        assert parts.others.item() == approx(others, abs=4 * gap * 2**-23)  # what float32 keeps of such logits


def test_gradients_are_right() -> None:
    student = STUDENT.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: _in_float64(s, TEACHER.double(), MIXED.double()), student)


def _in_float64(student: torch.Tensor, teacher: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``dkd`` without its step to float32, which numerical gradients would not survive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", lambda self: self)
        return dkd(student, teacher, target, tau=2.0)


def test_half_precision_is_computed_in_float32() -> None:
    halves = STUDENT.bfloat16(), TEACHER.half()
    assert dkd(*halves, LABELS).dtype == torch.float32
    assert dkd(*halves, LABELS) == dkd(*(half.float() for half in halves), LABELS)
