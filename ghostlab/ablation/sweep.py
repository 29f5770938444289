"""A sweep from its plan to its end: what is finished is left out, and what failed is named when all others are done."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ghostlab.ablation.arrange import Wanted, arrange
from ghostlab.ablation.plan import Plan, Table, keep_plan
from ghostlab.ablation.progress import Progress, failure
from ghostlab.config.sweep import Job, apart, choices, distinct
from ghostlab.data.manifest import forget
from ghostlab.errors import RunError
from ghostlab.quantities import duration
from ghostlab.training.processes import refuse_several_processes
from ghostlab.training.report import say
from ghostlab.training.result_file import read_result
from ghostlab.training.settings import parse, typed

__all__ = ["Sweep"]


class Sweep:
    """What Hydra's own sweeper does, planned and checked: ``attach`` it, let Hydra sweep, then ``end``."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = shlex.join(command)
        self.progress = Progress()
        self.report: Path | None = None

    def attach(self) -> None:
        """Let Hydra's sweeper run the jobs of ``split``: it takes no sweeper from outside of ``hydra_plugins``."""

        def split(sweeper: BasicSweeper, overrides: list[Override], size: int | None) -> list[list[list[str]]]:
            return self.split(sweeper.config, choices(overrides), size)  # type: ignore[arg-type]

        BasicSweeper.split_arguments = split  # type: ignore[method-assign, assignment]
        # All jobs are composed when they are planned.
        BasicSweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]

    def split(self, config: DictConfig, given: Mapping[str, Sequence[str]], size: int | None) -> list[list[list[str]]]:
        """The overrides of every job that is still to be done, in batches of ``size`` (None: one), after the plan is
        checked and shown; raises ``UsageError`` at the first mistake in any of them."""
        forget()  # what the images were when this process last looked
        jobs, tables = _planned(given, config)
        for job in jobs:
            refuse_several_processes(parse(job.cfg).trainer)
        todo = [job for job in jobs if job.cfg.force or not read_result(job.folder)]
        self.progress = _progress(jobs, todo, config.hydra.launcher)
        if tables:
            outputs = Path(jobs[0].cfg.outputs)
            self.report = keep_plan(outputs / "ablation", Plan(config.ablation.design, self.command, outputs, tables))
        elif len({job.folder.parent for job in jobs}) > 1:
            self.report = Path(os.path.commonpath([job.folder.parents[2] for job in jobs]))
        _show(jobs, tables, self.progress)
        size = size or len(todo) or 1
        return [[list(job.overrides) for job in todo[start : start + size]] for start in range(0, len(todo), size)]

    def end(self) -> None:
        """Wait for runs that another sweep is training, and name the report; raises ``RunError`` naming what failed."""
        for folder in self.progress.left:
            _wait_for(folder)
        if self.report:
            say(f"what it says: python tools/report.py {shlex.quote(str(self.report))}")
        left = self.progress.left
        named = "; ".join(f"[{folder}] {failure(folder) or 'stopped'}" for folder in left)
        if left:
            raise RunError(
                f"{len(left)} of {len(self.progress.every)} runs failed; the same command tries them again: {named}"
            )


def _planned(given: Mapping[str, Sequence[str]], config: DictConfig) -> tuple[list[Job], list[Table]]:
    """The runs, and the tables of an ablation where one is wanted."""
    base, node = apart(config)
    if node is None:
        return distinct(given), []
    rest = {key: values for key, values in given.items() if key != "ablation" and not key.startswith("ablation.")}
    if list(rest.get("experiment", [])) == ["experiment=ablation"]:
        del rest["experiment"]
    if "experiment" in rest:
        rest["ablation.design"] = ["ablation.design=null"]  # the experiment may bring one along, which no run has
    return arrange(rest, typed(Wanted, node, "ablation"), Path(base.outputs))


def _progress(jobs: Sequence[Job], todo: Sequence[Job], launcher: DictConfig) -> Progress:
    at_once = max(1, min(_at_once(launcher), len(todo)))
    shared = frozenset.intersection(*(frozenset(job.overrides) for job in jobs))
    return Progress([job.folder for job in jobs], [job.folder for job in todo], at_once, shared)


def _at_once(launcher: DictConfig) -> int:
    """How many runs a launcher trains at the same time: Hydra's own one, joblib's as many as it is told or has cores,
    submitit's all at once where its cluster sets no limit."""
    name = str(launcher._target_).rpartition(".")[2]
    if name == "BasicLauncher":
        return 1
    wanted = launcher.get("n_jobs") or launcher.get("array_parallelism") or sys.maxsize
    return int(wanted) if int(wanted) > 0 else os.cpu_count() or 1


def _show(jobs: Sequence[Job], tables: Sequence[Table], progress: Progress) -> None:
    todo = len(progress.todo)
    line = f"plan: {_shape(jobs, tables)}; {len(jobs) - todo} finished, {todo} to do"
    if todo and (seconds := progress.seconds_left()):
        line += f", about {duration(seconds)}"
    at_once = f" ({progress.parallel} at a time)" if progress.parallel > 1 else ""
    say(line + at_once)
    for table in tables:
        say(f"  {table.title}")
        for row in table.rows:
            done = sum(bool(read_result(Path(jobs[0].cfg.outputs) / folder)) for folder in row.runs.values())
            say(f"    {row.name:<24} {done}/{len(row.runs)}")


def _shape(jobs: Sequence[Job], tables: Sequence[Table]) -> str:
    if not tables:
        return f"{len(jobs)} runs"
    rows, seeds = (len(tables[0].rows), len(tables[0].rows[0].runs))
    several = f"{len(tables)} tables x " if len(tables) > 1 else ""
    return f"{several}{rows} rows x {seeds} seeds = {len(jobs)} runs"


def _wait_for(folder: Path) -> None:
    """Until no other process trains it."""
    lock = FileLock(folder / ".lock")
    if not Path(lock.lock_file).exists() or failure(folder):
        return
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for {folder}, which another sweep is training")
        lock.acquire()
    lock.release()
