"""Which knobs of distillation make sense, and which of them together."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ghostlab.errors import UsageError
from ghostlab.strategies.checks import at_least_one, one_of, within

__all__ = ["KINDS", "USED_BY", "check_knobs", "listed"]

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


def check_knobs(kd: Any) -> None:
    """``UsageError`` for the first knob of a ``KnowledgeDistillation`` that is not allowed or does nothing."""
    one_of("strategy.kd.kind", kd.kind, KINDS)
    within("strategy.kd.alpha", kd.alpha, "[0, 1]")
    within("strategy.kd.tau", kd.tau, "(0, inf)")
    for knob in ("dkd_target", "dkd_others", "dist_inter", "dist_intra"):
        within(f"strategy.kd.{knob}", getattr(kd, knob), "[0, inf)")
    at_least_one("strategy.kd.cache_k", kd.cache_k)
    _refuse_unused(kd)
    _check_teachers(kd, len(listed(kd.teacher)))
    if kd.kind == "feature":
        _check_feature(kd)


def listed(value: Any) -> list[Any]:
    """One value or several as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _refuse_unused(kd: Any) -> None:
    """A knob that does nothing would make two names for one run."""
    needs = {knob: (kd.kind in kinds, f"kind={kd.kind}") for knob, kinds in USED_BY.items()}
    needs |= dict.fromkeys(("cache_k", "cache_folder"), (kd.cache, "cache=false"))
    needs["teacher_weights"] = (len(listed(kd.teacher)) > 1, "one teacher")
    defaults = {field.name: field.default for field in fields(kd)}
    for knob, (used, because) in needs.items():
        value = getattr(kd, knob)
        if not used and value != defaults[knob]:
            raise UsageError(f"strategy.kd.{knob}={value}: has no effect with {because}; leave it out")


def _check_teachers(kd: Any, count: int) -> None:
    for knob in ("teacher", "teacher_model"):
        value = getattr(kd, knob)
        names = all(one is None or (isinstance(one, str) and one) for one in listed(value))
        _require(names and listed(value), knob, value, "a name or a path, or a list of such")
    models = len(listed(kd.teacher_model))
    _require(models in (1, count), "teacher_model", kd.teacher_model, "one, or as many as teachers")
    for knob, length in (("teacher_weights", count), ("teacher_mean", 3), ("teacher_std", 3)):
        numbers = getattr(kd, knob)
        _require(numbers is None or len(numbers) == length, knob, numbers, f"{length} numbers")
        _require(numbers is None or knob == "teacher_mean" or min(numbers) > 0, knob, numbers, "numbers above 0")
    _require(kd.teacher_size is None or kd.teacher_size > 0, "teacher_size", kd.teacher_size, "pixels above 0")


def _check_feature(kd: Any) -> None:
    stages = kd.stages
    _require(len(listed(kd.teacher)) == 1, "teacher", kd.teacher, "one teacher with kind=feature")
    _require(not kd.cache, "cache", "true", "false with kind=feature: features are too large to be kept")
    _require(stages is None or len({*stages}) == len(stages) > 0, "stages", stages, "distinct positions")


def _require(holds: Any, knob: str, value: Any, allowed: str) -> None:
    if not holds:
        raise UsageError(f"strategy.kd.{knob}={value}: must be {allowed}")
