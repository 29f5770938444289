"""DIST against loops over numbers."""

from __future__ import annotations

import pytest
import torch
from pytest import approx

from ghostlab.distill import dist
from ghostlab.distill.relations import dist_parts
from tests.distill import by_hand

torch.manual_seed(1)
STUDENT, TEACHER = 2 * torch.randn(7, 5), 3 * torch.randn(7, 5)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_both_parts_are_those_of_the_formula(tau: float) -> None:
    inter, intra = by_hand.dist(STUDENT.tolist(), TEACHER.tolist(), tau)
    parts = dist_parts(STUDENT, TEACHER, tau=tau)
    assert parts.inter.item() == approx(inter, rel=1e-4)
    assert parts.intra.item() == approx(intra, rel=1e-4)
    weighted = dist(STUDENT, TEACHER, tau=tau, inter_weight=2.0, intra_weight=0.5)
    assert weighted.item() == approx(2 * inter + 0.5 * intra, rel=1e-4)


def test_going_along_with_the_teacher_is_enough() -> None:
    # Probabilities (1/2, 1/3, 1/6) and (4/6, 2/6, 0): a straight line through the teacher's values.
    teacher = torch.tensor([[1 / 2, 1 / 3, 1 / 6]]).log()
    student = torch.tensor([[4 / 6, 2 / 6, 1e-30]]).log()
    assert dist_parts(student, teacher).inter.item() == approx(0, abs=1e-5)


def test_the_opposite_of_the_teacher_costs_two() -> None:
    teacher = torch.tensor([[0.6, 0.4], [0.3, 0.7]]).log()
    parts = dist_parts(teacher.flip(1), teacher)
    assert [part.item() for part in parts] == approx([2, 2], rel=1e-5)


@pytest.mark.parametrize("target", [torch.zeros(7, dtype=torch.long), torch.full((7, 5), 0.2)], ids=["index", "mixed"])
def test_the_target_is_not_looked_at(target: torch.Tensor) -> None:
    assert dist(STUDENT, TEACHER, target) == dist(STUDENT, TEACHER)


def test_a_batch_of_one_and_equal_answers_stay_finite() -> None:
    for student in (STUDENT[:1].clone(), torch.zeros(3, 5)):
        student.requires_grad_()
        loss = dist(student, TEACHER[: len(student)])
        loss.backward()
        assert loss.isfinite()
        assert student.grad.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    halves = STUDENT.bfloat16(), TEACHER.half()
    assert dist(*halves).dtype == torch.float32
    assert dist(*halves) == dist(*(half.float() for half in halves))
