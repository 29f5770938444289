"""Distillation losses against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pytest import approx, param

from ghostlab.distill import hard, soft

LN3 = math.log(3)
# A teacher of (3/4, 1/4) and a student of (1/2, 1/2).
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
UNDECIDED = torch.zeros(1, 2)


@pytest.mark.parametrize(
    ("tau", "loss"),
    [param(1.0, DIVERGENCE, id="tau-1"), param(2.0, 4 * DIVERGENCE, id="tau-2"), param(0.5, DIVERGENCE / 4, id="half")],
)
def test_soft_is_tau_squared_times_the_divergence_of_softened_answers(tau: float, loss: float) -> None:
    teacher = torch.tensor([[tau * LN3, 0.0]])
    assert soft(UNDECIDED, teacher, tau=tau).item() == approx(loss, rel=1e-6)


def test_the_divergence_is_from_the_teacher_to_the_student() -> None:
    student = torch.tensor([[LN3, 0.0]])
    other_way = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert soft(student, UNDECIDED).item() == approx(other_way, rel=1e-6)
    assert other_way != approx(DIVERGENCE, rel=1e-2)


def test_soft_is_the_mean_over_the_batch() -> None:
    teacher = torch.tensor([[LN3, 0.0], [0.0, 0.0]])
    assert soft(torch.zeros(2, 2), teacher).item() == approx(DIVERGENCE / 2, rel=1e-6)


def test_the_gradient_is_the_difference_of_the_answers() -> None:
    student = torch.zeros(1, 2, requires_grad=True)
    soft(student, torch.tensor([[LN3, 0.0]])).backward()
    assert student.grad.tolist() == [approx([0.5 - 0.75, 0.5 - 0.25])]


@pytest.mark.parametrize("shift", [-7.0, 100.0])
def test_only_differences_between_logits_count(shift: float) -> None:
    teacher = torch.tensor([[LN3, 0.0]])
    assert soft(UNDECIDED + shift, teacher - shift).item() == approx(DIVERGENCE, rel=1e-4)


def test_certain_answers_stay_finite() -> None:
    certain = torch.tensor([[1e4, 0.0]])
    assert soft(certain, certain).item() == 0
    assert soft(certain.flip(1), certain).item() == approx(1e4)


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher = torch.randn(4, 10, dtype=torch.bfloat16), torch.randn(4, 10, dtype=torch.float16)
    loss = soft(student, teacher, tau=2.0)
    assert loss.dtype == torch.float32
    assert loss == soft(student.float(), teacher.float(), tau=2.0)


def test_hard_is_the_cross_entropy_with_the_teachers_choice() -> None:
    student, teacher = torch.tensor([[LN3, 0.0], [LN3, 0.0]]), torch.tensor([[0.1, 0.0], [-2.0, 5.0]])
    assert hard(student, teacher).item() == approx((math.log(4 / 3) + math.log(4)) / 2, rel=1e-6)


@pytest.mark.parametrize("loss", [soft, hard])
@pytest.mark.parametrize("target", [torch.tensor([1]), torch.tensor([[0.3, 0.7]])], ids=["index", "mixed"])
def test_these_losses_look_at_the_teacher_alone(loss: Callable[..., torch.Tensor], target: torch.Tensor) -> None:
    teacher = torch.tensor([[LN3, 0.0]])
    assert loss(UNDECIDED, teacher, target) == loss(UNDECIDED, teacher)


def test_hard_computes_half_precision_in_float32() -> None:
    student, teacher = torch.randn(4, 10, dtype=torch.bfloat16), torch.randn(4, 10, dtype=torch.float16)
    assert hard(student, teacher).dtype == torch.float32
