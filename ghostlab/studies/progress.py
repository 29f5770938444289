"""How far a sweep is, by what lies on disk: which runs are finished, which failed, and how long the rest will take."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostlab.runs.run import Run

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """The run folders of a sweep, of which ``todo`` were not finished when it began; ``parallel`` are trained at once,
    and ``shared`` are the overrides that all have.

    Runs whose folders lie beside each other differ in seed or in values of their strategies and cost about the same.
    """

    every: Sequence[Path] = ()
    todo: Sequence[Path] = ()
    parallel: int = 1
    shared: frozenset[str] = frozenset()

    @property
    def left(self) -> list[Path]:
        """The runs to do that are not finished by now."""
        return [folder for folder in self.todo if not Run(folder).result()]

    def seconds_left(self) -> float | None:
        """Estimated from the finished runs; None before there is one."""
        measured: dict[Path, list[float]] = {}
        for folder in self.every:
            if result := Run(folder).result():
                measured.setdefault(folder.parent, []).append(result["seconds"])
        if not measured:
            return None
        typical = {parent: statistics.mean(seconds) for parent, seconds in measured.items()}
        other = statistics.mean(_all(measured.values()))
        return sum(typical.get(folder.parent, other) for folder in self.left) / self.parallel


def _all(lists: Iterable[Sequence[float]]) -> list[float]:
    return [value for values in lists for value in values]
