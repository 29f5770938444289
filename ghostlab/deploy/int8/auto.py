"""The fewest layers in float32 with which the rest loses little enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ghostlab.errors import RunError

__all__ = ["PrecisionTrial", "fewest"]


@dataclass(frozen=True)
class PrecisionTrial:
    """Top-1 in percent with the layers ``kept`` in float32."""

    kept: tuple[str, ...]
    top1: float


def fewest(
    ranking: Sequence[str], top1: Callable[[Sequence[str]], float], least: float
) -> tuple[PrecisionTrial, list[PrecisionTrial]]:
    """The trial with the shortest beginning of ``ranking`` that keeps top-1 at ``least``, and all trials in order.

    ``ranking``: the layers, those that lose most first. Tried are none, then 1, 2, 4, 8, ... of them and at last all,
    until ``least`` percent hold, then what lies between the last two counts by halves. Raises ``RunError`` where not
    even all in float32 hold it.
    """
    trials: list[PrecisionTrial] = []

    def holds(count: int) -> bool:
        kept = tuple(ranking[:count])
        trials.append(PrecisionTrial(kept, top1(kept)))
        return trials[-1].top1 >= least

    failed, held = -1, 0
    while not holds(held):
        if held == len(ranking):
            raise RunError(
                f"--max-drop: top-1 {trials[-1].top1:.2f} with all {len(ranking)} layers in float32, below the"
                f" {least:.2f} that it allows; allow more"
            )
        failed, held = held, min(max(1, 2 * held), len(ranking))
    while held - failed > 1:
        middle = (failed + held) // 2
        failed, held = (failed, middle) if holds(middle) else (middle, held)
    return next(trial for trial in trials if len(trial.kept) == held), trials
