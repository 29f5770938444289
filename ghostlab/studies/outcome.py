"""The table at the end of a sweep: what came out of each way of training, over its seeds."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console

from ghostlab.quantities import duration, mean_and_sd, quantity
from ghostlab.runs.run import Run
from ghostlab.studies.jobs import SEED, Job
from ghostlab.tables import Column, terminal_table

__all__ = ["SweepRow", "show_outcome", "sweep_rows"]


class SweepRow(NamedTuple):
    """Runs that differ in nothing but the seed: how many there are, and the results of those that are finished."""

    name: str
    runs: int
    results: Sequence[dict[str, Any]]

    def values(self, key: str) -> list[float] | None:
        """A figure of every finished run; None where there is none."""
        return [result[key] for result in self.results] or None


def show_outcome(jobs: Sequence[Job], shared: frozenset[str]) -> None:
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
