"""Distillation as a strategy: what it adds to the loss, and that the teacher stays out of everything else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from pytest import approx
from torch import nn

import ghostlab.strategies.kd
from ghostlab.strategies.base import Step
from ghostlab.strategies.kd import KnowledgeDistillation, answers
from tests.strategies.settings import TASK
from tests.strategies.tiny import FakeServices, TinyNet

IMAGES = torch.randn(2, 3, 16, 16)


def prepared(**knobs: object) -> KnowledgeDistillation:
    strategy = KnowledgeDistillation(teacher="a teacher", **knobs)
    strategy.prepare(TinyNet(), TASK, FakeServices())
    return strategy


def step(logits: torch.Tensor) -> Step:
    return Step(images=IMAGES, targets=torch.zeros(2, dtype=torch.long), logits=logits)


def test_both_terms_are_weighted() -> None:
    assert KnowledgeDistillation(alpha=0.3).loss_weights() == {"ce": 0.7, "kd": 0.3}


def test_the_term_is_zero_where_the_student_answers_as_the_teacher_does(a_teacher: None) -> None:
    strategy = prepared(tau=3.0)
    same = answers(strategy._opened, IMAGES)
    assert strategy.loss_terms(step(same))["kd"].item() == approx(0, abs=1e-6)
    assert strategy.loss_terms(step(same * 2))["kd"].item() > 1e-3


def test_gradients_reach_the_student_only(a_teacher: None) -> None:
    strategy, student = prepared(), TinyNet()
    strategy.loss_terms(step(student(IMAGES)))["kd"].backward()
    assert student.head.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in strategy._opened.parameters())


def test_the_teacher_is_in_evaluation_and_stays_so(a_teacher: None) -> None:
    strategy = prepared()
    before = {key: value.clone() for key, value in strategy._opened.state_dict().items()}
    strategy.loss_terms(step(torch.randn(2, 4)))
    assert not any(module.training for module in strategy._opened.modules())
    assert all(torch.equal(before[key], value) for key, value in strategy._opened.state_dict().items())


def test_a_module_that_holds_the_strategy_does_not_hold_the_teacher(a_teacher: None) -> None:
    module = nn.Module()
    module.strategy, module.strategies = prepared(), [prepared()]
    assert list(module.parameters()) == []
    assert dict(module.state_dict()) == {}


def test_knobs_are_all_there_is_to_compare(a_teacher: None) -> None:
    assert [field.name for field in dataclasses.fields(prepared())] == ["alpha", "tau", "teacher", "teacher_model"]
    assert prepared() == prepared()


def test_the_teacher_answers_in_the_type_of_autocast(a_teacher: None) -> None:
    strategy = prepared()
    with torch.autocast("cpu", torch.bfloat16):
        assert answers(strategy._opened, IMAGES).dtype == torch.bfloat16
        assert strategy.loss_terms(step(torch.randn(2, 4)))["kd"].dtype == torch.float32


def test_the_teacher_follows_the_images(a_teacher: None) -> None:
    strategy = prepared()
    assert answers(strategy._opened, IMAGES.double()).dtype == torch.float64
    assert answers(strategy._opened, IMAGES).dtype == torch.float32


def test_before_training_the_teacher_is_measured_and_described(a_teacher: None) -> None:
    strategy, services = KnowledgeDistillation(teacher="a teacher", alpha=0.7, tau=2), FakeServices()
    assert strategy.describe() == "soft, alpha 0.7, tau 2"
    strategy.prepare(TinyNet(), TASK, services)
    assert services.evaluated == [strategy._opened]
    assert strategy.describe() == "soft, alpha 0.7, tau 2; teacher a teacher: top-1 98.6"


def test_without_a_teacher_the_data_sets_default_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_teacher(source: Path, num_classes: int, teacher_model: str | None) -> nn.Module:
        opened.append((source, num_classes, teacher_model))
        return TinyNet()

    monkeypatch.setattr(ghostlab.strategies.kd, "open_teacher", open_teacher)
    KnowledgeDistillation().prepare(TinyNet(), TASK, FakeServices(teacher=Path("kept/here")))
    assert opened == [(Path("kept/here"), 4, None)]


def test_a_step_before_prepare_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="prepare"):
        KnowledgeDistillation().loss_terms(step(torch.randn(2, 4)))
