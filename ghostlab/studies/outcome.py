"""The table at the end of a sweep: what came out of each way of training, over its seeds."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ghostlab.quantities import duration, quantity
from ghostlab.runs.run import Run
from ghostlab.studies.jobs import SEED, Job

__all__ = ["outcome", "show_outcome"]

COLUMNS = ("run", "seeds", "top-1", "best epoch", "time", "params")


def show_outcome(jobs: Sequence[Job], shared: frozenset[str]) -> None:
    """Print the table, unless no run is finished."""
    rows = outcome(jobs, shared)
    if not any(row[2] for row in rows):
        return
    table = Table(box=SIMPLE_HEAD)
    for place, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table, highlight=False, markup=False)


def outcome(jobs: Sequence[Job], shared: frozenset[str]) -> list[tuple[str, ...]]:
    """A row for the runs that differ in nothing but the seed, in the order of the plan, with the cells of ``COLUMNS``:
    mean and standard deviation of top-1 in percent, and means of the rest, over the runs that are finished."""
    grouped: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        own = tuple(one for one in job.overrides if one not in shared and not SEED.fullmatch(one))
        grouped.setdefault(own, []).append(job)
    return [_row(shlex.join(own) or "all", group) for own, group in grouped.items()]


def _row(name: str, jobs: Sequence[Job]) -> tuple[str, ...]:
    results = [result for job in jobs if (result := Run(job.folder).result())]
    count = f"{len(results)}/{len(jobs)}"
    if not results:
        return (name, count, "", "", "", "")
    return (
        name,
        count,
        _spread(results, "top1"),
        _spread(results, "top1_best"),
        duration(statistics.mean(result["seconds"] for result in results)),
        quantity(results[0]["params_deploy"]),
    )


def _spread(results: Sequence[dict[str, Any]], key: str) -> str:
    values = [result[key] for result in results]
    deviation = f" ±{statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"
