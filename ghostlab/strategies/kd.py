"""Knowledge distillation: the student also learns what a larger, trained teacher answers or sees.

The plain functions are those of ``ghostlab.distill``: the losses ``soft``, ``hard``, ``dkd``, ``dist`` and
``feature``. Their docstrings name the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ghostlab.distill import TeacherChoice, hard, soft
from ghostlab.distill.decoupled import dkd_parts
from ghostlab.distill.features import Projections, Taps, feature_parts
from ghostlab.distill.relations import dist_parts
from ghostlab.errors import UsageError, keyed
from ghostlab.strategies.answers import Answers, RunCache, live_answers
from ghostlab.strategies.base import Services, Step, Strategy, Task
from ghostlab.strategies.checks import at_least_one, one_of, require, within

__all__ = ["KINDS", "KnowledgeDistillation"]

KINDS = ("soft", "hard", "dkd", "dist", "feature")
USED_BY = {
    "tau": ("soft", "dkd", "dist"),
    "dkd_target": ("dkd",),
    "dkd_others": ("dkd",),
    "dist_inter": ("dist",),
    "dist_intra": ("dist",),
    "stages": ("feature",),
}
"""Knobs that only some kinds have a use for."""
LAST_STAGE = (-1,)


@dataclass
class KnowledgeDistillation(Strategy):
    """``(1 - alpha) * CE + alpha * <the loss of kind>``; the teacher sees the images that the student sees.

    ``teacher`` is the name of a timm model, a checkpoint (outside of a run folder with ``teacher_model``, the name of
    its architecture), a run folder, or a list of these, whose probabilities are averaged; without one, the data set's
    default teacher is used. The teacher is no part of any module, so it is never trained, averaged, counted or saved.
    """

    name = "kd"
    kind: str = "soft"
    alpha: float = 0.5
    tau: float = 1.0
    dkd_target: float = 1.0
    dkd_others: float = 0.5
    dist_inter: float = 1.0
    dist_intra: float = 1.0
    stages: list[int] | None = None
    teacher: Any = None
    teacher_model: Any = None
    teacher_weights: list[float] | None = None
    teacher_size: int | None = None
    teacher_mean: list[float] | None = None
    teacher_std: list[float] | None = None
    compile: bool = False
    cache: bool = False
    cache_k: int = 10
    cache_folder: str | None = None

    def __post_init__(self) -> None:
        _check_knobs(self)
        self._answers: Answers | None = None
        self._taps: tuple[Taps, Taps] | None = None
        self._projections: Projections | None = None

    def prepare(self, model: nn.Module, task: Task, services: Services) -> None:
        """Open the teacher and measure its accuracy, or find or build the cache of its answers."""
        if self.cache:
            self._answers = self.run_cache(task, services).complete()
            return
        live = live_answers(self.choice(services), task, services, self.compile)
        self._answers = live
        if self.kind == "feature":
            with keyed("strategy.kd"):
                self._tap(model, live.teacher, task)

    def run_cache(self, task: Task, services: Services) -> RunCache:
        """The cache that the knobs name, for the run of ``task``."""
        folder = Path(self.cache_folder) if self.cache_folder else None
        return RunCache(self.choice(services), task, services, self.cache_k, folder, self.compile)

    def companion(self) -> nn.Module | None:
        return self._projections

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        return self._source().lookup(epoch, index)

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        logits = self._source().logits(step)
        if self.kind == "soft":
            return {"kd": soft(step.logits, logits, tau=self.tau)}
        if self.kind == "hard":
            return {"kd": hard(step.logits, logits)}
        if self.kind == "feature":
            return dict(zip(self._names(), self._feature_parts(), strict=True))
        if self.kind == "dkd":
            parts: tuple[Tensor, ...] = dkd_parts(step.logits, logits, step.targets, tau=self.tau)
        else:
            parts = dist_parts(step.logits, logits, tau=self.tau)
        return dict(zip(self._names(), parts, strict=True))

    def loss_weights(self) -> dict[str, float]:
        weights = {"dkd": (self.dkd_target, self.dkd_others), "dist": (self.dist_inter, self.dist_intra)}
        each = weights.get(self.kind, (1.0,) * len(self._names()))
        return {"ce": 1 - self.alpha} | {
            name: self.alpha * weight for name, weight in zip(self._names(), each, strict=True)
        }

    def figures(self) -> dict[str, Any]:
        source = self._source()
        return {"teacher": source.introduction, "teacher_top1": source.top1, **source.figures()}

    def remark(self, result: Mapping[str, Any]) -> str:
        top1 = self._source().top1
        if top1 >= result["top1"]:
            return ""
        return f"kd: the teacher's top-1 {top1:.1f} is below the student's {result['top1']:.1f}: find a better teacher"

    def describe(self) -> str:
        tau = f", tau {self.tau:g}" if self.kind in USED_BY["tau"] else ""
        known = f"; {self._answers.introduction}" if self._answers else ""
        return f"{self.kind}, alpha {self.alpha:g}{tau}{known}"

    def _source(self) -> Answers:
        if self._answers is None:
            raise RuntimeError("prepare() opens the teacher and comes first")
        return self._answers

    def _names(self) -> list[str]:
        """The loss terms of this kind."""
        if self.stages and len(self.stages) > 1:
            return [f"kd_stage{stage}" for stage in self.stages]
        return {"dkd": ["kd_target", "kd_others"], "dist": ["kd_inter", "kd_intra"]}.get(self.kind, ["kd"])

    def _tap(self, model: nn.Module, teacher: Any, task: Task) -> None:
        """Listen to the stages of both networks; an image of zeros tells their numbers of channels."""
        stages = self.stages or LAST_STAGE
        taps = Taps(model, stages, "student"), Taps(teacher.model, stages, "teacher")
        training, image = model.training, torch.zeros(1, len(task.mean), task.image_size, task.image_size)
        with torch.no_grad():
            model.eval()(image)
            teacher.cpu()(image)
        model.train(training)
        self._taps, self._projections = taps, Projections(*(tap.features() for tap in taps))

    def _feature_parts(self) -> list[Tensor]:
        assert self._taps is not None and self._projections is not None
        with keyed("strategy.kd"):
            student, teacher = (tap.features() for tap in self._taps)
        return feature_parts(self._projections(student), teacher)

    def sources(self) -> list[str | Path]:
        return [source for source in _listed(self.teacher) if source]

    def choice(self, services: Services) -> TeacherChoice:
        """The teachers that the knobs name."""
        sources = [source or services.default_teacher() for source in _listed(self.teacher)]
        for source in sources:
            services.learn_from("strategy.kd.teacher", source)
        models = _listed(self.teacher_model)
        return TeacherChoice(
            sources=services.teachers(sources, models * len(sources) if len(models) == 1 else models),
            weights=self.teacher_weights or [1.0] * len(sources),
            size=self.teacher_size,
            mean=tuple(self.teacher_mean) if self.teacher_mean else None,
            std=tuple(self.teacher_std) if self.teacher_std else None,
        )


def _check_knobs(kd: KnowledgeDistillation) -> None:
    """``UsageError`` for the first knob of a ``KnowledgeDistillation`` that is not allowed or does nothing."""
    one_of("strategy.kd.kind", kd.kind, KINDS)
    within("strategy.kd.alpha", kd.alpha, "[0, 1]")
    within("strategy.kd.tau", kd.tau, "(0, inf)")
    for knob in ("dkd_target", "dkd_others", "dist_inter", "dist_intra"):
        within(f"strategy.kd.{knob}", getattr(kd, knob), "[0, inf)")
    at_least_one("strategy.kd.cache_k", kd.cache_k)
    _refuse_unused(kd)
    _check_teachers(kd, len(_listed(kd.teacher)))
    if kd.kind == "feature":
        _check_feature(kd)


def _listed(value: Any) -> list[Any]:
    """One value or several as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _refuse_unused(kd: KnowledgeDistillation) -> None:
    """A knob that does nothing would make two names for one run."""
    needs = {knob: (kd.kind in kinds, f"kind={kd.kind}") for knob, kinds in USED_BY.items()}
    needs |= dict.fromkeys(("cache_k", "cache_folder"), (kd.cache, "cache=false"))
    needs["teacher_weights"] = (len(_listed(kd.teacher)) > 1, "one teacher")
    defaults = {field.name: field.default for field in fields(kd)}
    for knob, (used, because) in needs.items():
        value = getattr(kd, knob)
        if not used and value != defaults[knob]:
            raise UsageError(f"strategy.kd.{knob}={value}: has no effect with {because}; leave it out")


def _check_teachers(kd: KnowledgeDistillation, count: int) -> None:
    for knob in ("teacher", "teacher_model"):
        value = getattr(kd, knob)
        names = all(one is None or (isinstance(one, str) and one) for one in _listed(value))
        _require(kd, knob, names and _listed(value), "a name or a path, or a list of such")
    _require(kd, "teacher_model", len(_listed(kd.teacher_model)) in (1, count), "one, or as many as teachers")
    for knob, length in (("teacher_weights", count), ("teacher_mean", 3), ("teacher_std", 3)):
        numbers = getattr(kd, knob)
        _require(kd, knob, numbers is None or len(numbers) == length, f"{length} numbers")
        _require(kd, knob, numbers is None or knob == "teacher_mean" or min(numbers) > 0, "numbers above 0")
    _require(kd, "teacher_size", kd.teacher_size is None or kd.teacher_size > 0, "pixels above 0")


def _check_feature(kd: KnowledgeDistillation) -> None:
    _require(kd, "teacher", len(_listed(kd.teacher)) == 1, "one teacher with kind=feature")
    require(
        not kd.cache, "strategy.kd.cache", "true", "must be false with kind=feature: features are too large to be kept"
    )
    _require(kd, "stages", kd.stages is None or len({*kd.stages}) == len(kd.stages) > 0, "distinct positions")


def _require(kd: KnowledgeDistillation, knob: str, holds: Any, allowed: str) -> None:
    require(holds, f"strategy.kd.{knob}", getattr(kd, knob), f"must be {allowed}")
