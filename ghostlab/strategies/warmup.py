"""The rise of the learning rate at the start of a run, shared by the schedules."""

from __future__ import annotations

from ghostlab.errors import UsageError
from ghostlab.strategies.base import Task
from ghostlab.strategies.checks import within

__all__ = ["check_warmup", "warmup_ramp", "warmup_steps"]


def warmup_ramp(step: int, warmup: int, start: float) -> float:
    """Linear from ``start`` at step 0 to 1 at step ``warmup``; defined for steps before ``warmup``."""
    return start + (1 - start) * step / warmup


def check_warmup(key: str, epochs: float, start: float) -> None:
    """Refuse a negative warm-up, and a start outside of [0, 1]; ``key`` is the schedule's, such as strategy.cosine."""
    within(f"{key}.warmup_epochs", epochs, "[0, inf)")
    within(f"{key}.warmup_factor", start, "[0, 1]")


def warmup_steps(key: str, epochs: float, task: Task) -> int:
    """Optimizer steps of a warm-up of ``epochs``; one longer than the run is a ``UsageError``."""
    if epochs > task.epochs:
        raise UsageError(f"{key}.warmup_epochs={epochs:g}: must not be longer than the run, {task.epochs} epochs")
    return round(epochs * task.steps_per_epoch)
