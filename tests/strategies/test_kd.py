"""Distillation as a strategy: what it adds to the loss, and that the teacher stays out of everything else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import approx, param
from torch import nn

from ghostlab.distill import answers, dist, dkd, feature, hard, soft
from ghostlab.errors import UsageError
from ghostlab.strategies.base import Step
from ghostlab.strategies.kd import KINDS, KnowledgeDistillation
from ghostlab.testing.settings import TASK
from ghostlab.testing.tiny import FakeServices, TinyNet
from ghostlab.training.teachers import NamedTeacher
from tests.strategies.settings import KD_TERMS

IMAGES = torch.randn(2, 3, 16, 16)
MIXED = torch.tensor([[0.3, 0.7, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])


def prepared(**knobs: Any) -> KnowledgeDistillation:
    strategy = KnowledgeDistillation(**{"teacher": "a teacher", **knobs})
    strategy.prepare(TinyNet(), TASK, FakeServices())
    return strategy


def teacher_of(strategy: KnowledgeDistillation) -> nn.Module:
    return strategy._source().teacher  # type: ignore[attr-defined]


def step(logits: torch.Tensor, targets: torch.Tensor = MIXED) -> Step:
    return Step(images=IMAGES, targets=targets, logits=logits)


def weighted(strategy: KnowledgeDistillation, logits: torch.Tensor) -> float:
    """What distillation adds to the loss, without its ``alpha``."""
    weights = strategy.loss_weights()
    return sum(weights[name] * term.item() for name, term in strategy.loss_terms(step(logits)).items()) / strategy.alpha


def test_every_kind_has_its_terms() -> None:
    assert set(KD_TERMS) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        param({}, {"kd": 0.3}, id="soft"),
        param({"kind": "hard"}, {"kd": 0.3}, id="hard"),
        param({"kind": "dkd", "dkd_others": 8.0}, {"kd_target": 0.3, "kd_others": 2.4}, id="dkd"),
        param({"kind": "dist", "dist_inter": 2.0}, {"kd_inter": 0.6, "kd_intra": 0.3}, id="dist"),
        param({"kind": "feature"}, {"kd": 0.3}, id="feature"),
        param({"kind": "feature", "stages": [0, -1]}, {"kd_stage0": 0.3, "kd_stage-1": 0.3}, id="stages"),
    ],
)
def test_all_terms_are_weighted(kind: dict[str, Any], terms: dict[str, float]) -> None:
    assert KnowledgeDistillation(alpha=0.3, **kind).loss_weights() == approx({"ce": 0.7} | terms)


def test_the_terms_of_each_kind_are_its_function() -> None:
    logits = torch.randn(2, 4)
    teacher = answers(teacher_of(prepared()), IMAGES)
    assert weighted(prepared(tau=2.0), logits) == approx(soft(logits, teacher, tau=2.0).item())
    assert weighted(prepared(kind="hard"), logits) == approx(hard(logits, teacher).item())
    assert weighted(prepared(kind="dkd", tau=2.0, dkd_target=0.5, dkd_others=3.0), logits) == approx(
        dkd(logits, teacher, MIXED, tau=2.0, target_weight=0.5, others_weight=3.0).item()
    )
    assert weighted(prepared(kind="dist", tau=2.0, dist_inter=0.5, dist_intra=3.0), logits) == approx(
        dist(logits, teacher, tau=2.0, inter_weight=0.5, intra_weight=3.0).item()
    )


def test_the_features_of_both_networks_are_compared_after_projection() -> None:
    strategy, student = KnowledgeDistillation(kind="feature", teacher="a teacher"), TinyNet()
    strategy.prepare(student, TASK, FakeServices())
    projections = strategy.companion()
    assert projections is not None
    [term] = strategy.loss_terms(step(student(IMAGES))).values()
    teacher = teacher_of(strategy).model
    with torch.no_grad():
        ours, theirs = (net.blocks(net.stem(IMAGES)) for net in (student, teacher))
        assert term.item() == approx(feature(projections([ours]), [theirs]).item(), rel=1e-5)
    term.backward()
    assert student.stem.weight.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in projections.parameters())
    assert student.head.weight.grad is None


def test_the_projections_are_a_function_of_the_seed() -> None:
    def first_weight(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        companion = prepared(kind="feature").companion()
        assert companion is not None
        return next(companion.parameters())

    assert torch.equal(first_weight(3), first_weight(3))
    assert not torch.equal(first_weight(3), first_weight(4))


def test_tapping_leaves_the_student_in_training_and_its_statistics_alone() -> None:
    strategy, student = KnowledgeDistillation(kind="feature", teacher="a teacher"), TinyNet().train()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    strategy.prepare(student, TASK, FakeServices())
    assert all(module.training for module in student.modules())
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())


def test_gradients_reach_the_student_only() -> None:
    strategy, student = prepared(), TinyNet()
    strategy.loss_terms(step(student(IMAGES)))["kd"].backward()
    assert student.head.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in teacher_of(strategy).parameters())


@pytest.mark.parametrize("kind", ["soft", "feature"])
def test_the_teacher_is_in_evaluation_and_stays_so(kind: str) -> None:
    strategy, student = KnowledgeDistillation(kind=kind, teacher="a teacher"), TinyNet()
    strategy.prepare(student, TASK, FakeServices())
    teacher = teacher_of(strategy)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    strategy.loss_terms(step(student(IMAGES)))
    assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("teacher", ["a teacher", ["a teacher", "another teacher"]], ids=["one", "several"])
def test_a_module_that_holds_the_strategy_does_not_hold_the_teacher(teacher: Any) -> None:
    module = nn.Module()
    module.strategy, module.strategies = prepared(teacher=teacher), [prepared()]
    assert list(module.parameters()) == []
    assert dict(module.state_dict()) == {}


def test_knobs_are_all_there_is_to_compare() -> None:
    names = {field.name for field in dataclasses.fields(prepared())}
    assert {"kind", "alpha", "tau", "teacher", "cache"} <= names
    assert not any(name.startswith("_") for name in names)
    assert prepared() == prepared()


def test_under_autocast_the_teacher_answers_in_its_type_and_the_loss_is_float32() -> None:
    strategy = prepared()
    with torch.autocast("cpu", torch.bfloat16):
        assert answers(teacher_of(strategy), IMAGES).dtype == torch.bfloat16
        assert strategy.loss_terms(step(torch.randn(2, 4)))["kd"].dtype == torch.float32


def test_several_teachers_are_weighted() -> None:
    each = [answers(teacher_of(prepared(teacher=name)), IMAGES).softmax(1) for name in ("a teacher", "another teacher")]
    both = prepared(teacher=["a teacher", "another teacher"], teacher_weights=[3.0, 1.0])
    torch.testing.assert_close(answers(teacher_of(both), IMAGES).softmax(1), 0.75 * each[0] + 0.25 * each[1])


def test_before_training_the_teacher_is_measured_and_described() -> None:
    strategy, services = KnowledgeDistillation(teacher="a teacher", alpha=0.7, tau=2), FakeServices()
    assert strategy.describe() == "soft, alpha 0.7, tau 2"
    strategy.prepare(TinyNet(), TASK, services)
    assert services.evaluated == [teacher_of(strategy)]
    assert strategy.describe() == "soft, alpha 0.7, tau 2; teacher a teacher: top-1 98.6"
    assert strategy.figures() == {"teacher": "teacher a teacher: top-1 98.6", "teacher_top1": 98.6}


def test_a_teacher_below_its_student_is_remarked_upon() -> None:
    strategy = prepared()
    assert strategy.remark({"top1": 98.6}) == ""
    assert strategy.remark({"top1": 99.0}).startswith("kd: the teacher's top-1 98.6 is below the student's 99.0")


def test_without_a_teacher_the_data_sets_default_one_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened, checkpoint = [], tmp_path / "x.pth"
    checkpoint.touch()

    def open_teacher(one: NamedTeacher, num_classes: int) -> nn.Module:
        opened.append((one.source, num_classes, one.architecture))
        return TinyNet()

    monkeypatch.setattr(NamedTeacher, "open", open_teacher)
    monkeypatch.setattr(NamedTeacher, "preprocessing", None)
    monkeypatch.setattr(NamedTeacher, "name", "a teacher")
    services = FakeServices(teacher=Path("kept/here"))
    KnowledgeDistillation().prepare(TinyNet(), TASK, services)
    several = KnowledgeDistillation(teacher=[None, str(checkpoint)], teacher_model=[None, "resnet18"])
    several.prepare(TinyNet(), TASK, services)
    assert opened == [(Path("kept/here"), 4, None), (Path("kept/here"), 4, None), (str(checkpoint), 4, "resnet18")]


def test_a_step_before_prepare_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="prepare"):
        KnowledgeDistillation().loss_terms(step(torch.randn(2, 4)))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        param({"kind": "sofd"}, "kind=sofd: no choice 'sofd'; did you mean 'soft'?", id="kind"),
        param({"dkd_others": -1.0}, r"dkd_others=-1.0: must be within \[0, inf\)", id="negative"),
        param({"kind": "hard", "tau": 4.0}, "tau=4.0: has no effect with kind=hard", id="tau-unused"),
        param({"dkd_target": 2.0}, "dkd_target=2.0: has no effect with kind=soft", id="dkd-unused"),
        param({"kind": "dkd", "dist_intra": 2.0}, "dist_intra=2.0: has no effect with kind=dkd", id="dist-unused"),
        param({"stages": [0]}, r"stages=\[0\]: has no effect with kind=soft", id="stages-unused"),
        param({"cache_k": 5}, "cache_k=5: has no effect with cache=false", id="k-unused"),
        param({"cache_folder": "x"}, "cache_folder=x: has no effect with cache=false", id="folder-unused"),
        param({"cache": True, "cache_k": 0}, "cache_k=0: must be a whole number, at least 1", id="k"),
        param({"teacher_weights": [1.0]}, r"teacher_weights=\[1.0\]: has no effect with one teacher", id="one-weight"),
        param({"teacher": ["a", "b"], "teacher_weights": [1.0]}, "must be 2 numbers", id="weights-count"),
        param({"teacher": ["a", "b"], "teacher_weights": [1.0, 0.0]}, "must be numbers above 0", id="weights-zero"),
        param({"teacher": []}, r"teacher=\[\]: must be a name or a path", id="no-teacher"),
        param({"teacher": 3}, "teacher=3: must be a name or a path", id="number"),
        param({"teacher_model": ["a", "b"]}, "teacher_model=.*: must be one, or as many as teachers", id="models"),
        param({"teacher_size": 0}, "teacher_size=0: must be pixels above 0", id="size"),
        param({"teacher_mean": [0.5]}, "teacher_mean=.*: must be 3 numbers", id="mean"),
        param({"teacher_std": [0.5, 0.5, 0.0]}, "teacher_std=.*: must be numbers above 0", id="std"),
        param({"kind": "feature", "cache": True}, "cache=true: must be false with kind=feature", id="feature-cache"),
        param(
            {"kind": "feature", "teacher": ["a", "b"]}, "must be one teacher with kind=feature", id="feature-several"
        ),
        param({"kind": "feature", "stages": [1, 1]}, "must be distinct positions", id="stage-twice"),
        param({"kind": "feature", "stages": []}, "must be distinct positions", id="no-stage"),
    ],
)
def test_knobs_that_make_no_sense_are_refused_in_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        KnowledgeDistillation(**knobs)
    assert str(refused.value).startswith("strategy.kd.")
    assert "\n" not in str(refused.value)


def test_a_compiled_teacher_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    strategy = prepared(compile=True)
    assert compiled == [teacher_of(strategy)]
    prepared()
    assert len(compiled) == 1
