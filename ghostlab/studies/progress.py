"""How far a sweep is, by what lies on disk, and what came out of each way of training, over its seeds."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console

from ghostlab.quantities import duration, mean_and_sd, quantity
from ghostlab.runs.run import Run
from ghostlab.studies.jobs import SEED, Job
from ghostlab.tables import Column, terminal_table

__all__ = ["Progress", "SweepRow", "print_outcome", "sweep_rows"]


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


class SweepRow(NamedTuple):
    """Runs that differ in nothing but the seed: how many there are, and the results of those that are finished."""

    name: str
    runs: int
    results: Sequence[dict[str, Any]]

    def values(self, key: str) -> list[float] | None:
        """A figure of every finished run; None where there is none."""
        return [result[key] for result in self.results] or None


def print_outcome(jobs: Sequence[Job], shared: frozenset[str]) -> None:
    """Print the table, unless no run is finished."""
    rows = sweep_rows(jobs, shared)
    if any(row.results for row in rows):
        console = Console() if sys.stdout.isatty() else Console(width=120)
        console.print(terminal_table(COLUMNS, rows, box=SIMPLE_HEAD))


def sweep_rows(jobs: Sequence[Job], shared: frozenset[str]) -> list[SweepRow]:
    """A row for the runs that differ in nothing but the seed, in the order of the plan."""
    grouped: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        own = tuple(one for one in job.overrides if one not in shared and not SEED.fullmatch(one))
        grouped.setdefault(own, []).append(job)
    return [
        SweepRow(shlex.join(own) or "all", len(group), [found for job in group if (found := Run(job.folder).result())])
        for own, group in grouped.items()
    ]


def _mean_and_sd(values: Sequence[float]) -> str:
    return mean_and_sd(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


COLUMNS: tuple[Column[SweepRow], ...] = (
    Column("name", "run", align="left"),
    Column("seeds", "seeds", cell=lambda row: f"{len(row.results)}/{row.runs}"),
    Column("top1", "top-1", lambda row: row.values("top1"), _mean_and_sd),
    Column("top1_best", "best epoch", lambda row: row.values("top1_best"), _mean_and_sd),
    Column("seconds", "time", lambda row: row.values("seconds"), lambda values: duration(statistics.mean(values))),
    Column("params", "params", lambda row: row.values("params_deploy"), lambda values: quantity(values[0])),
)
