"""A sweep from its plan to its end: what is finished is left out, and what failed is named when all others are done."""

from __future__ import annotations

import os
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console

from ghostlab.data.manifest import clear_manifest_cache
from ghostlab.errors import RunError, UsageError
from ghostlab.quantities import duration, mean_and_sd, quantity
from ghostlab.runs.messages import exit_code, one_line
from ghostlab.runs.processes import refuse_several_processes
from ghostlab.runs.run import Run
from ghostlab.runs.settings import parse, parse_node
from ghostlab.shell import command
from ghostlab.studies.ablation import AblationConfig, plan_ablation
from ghostlab.studies.jobs import SEED, Application, Composer, Job, job_config, split_ablation, sweep_choices
from ghostlab.studies.plan import Plan, Table, keep_plan
from ghostlab.studies.worker import Progress, run_job
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import say
from ghostlab.training.teachers import check_sources

__all__ = ["Sweep"]


class Sweep:
    """All runs of a sweep, planned and checked before the first one begins."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.progress = Progress()
        self.jobs: list[Job] = []
        self.report: Path | None = None

    def run(self, arguments: Sequence[str], size: int | None = None) -> None:
        """Do what is not finished yet, ``size`` runs of the launcher at a time (None: all), and say what came out.

        Raises ``UsageError`` at the first mistake in any of the runs, and at the end ``RunError`` naming what failed.
        """
        if size is not None and size < 1:
            raise UsageError(f"hydra.sweeper.max_batch_size={size}: runs at a time, at least 1, or null for all")
        self.application.prepare()
        parser = OverridesParser.create(config_loader=self.application.context.config_loader)
        batches = self.plan(sweep_choices(parser.parse_overrides(list(arguments))), size)
        launcher = self.application.launcher(partial(run_job, self.application.task.work, progress=self.progress))
        started = 0
        for batch in batches:
            self._launch(launcher, batch, started)
            started += len(batch)
        self.end()

    def plan(self, given: Mapping[str, Sequence[str]], size: int | None) -> list[list[list[str]]]:
        """The overrides of every job that is still to be done, in batches, after the plan is checked and shown."""
        clear_manifest_cache()  # what the images were when this process last looked
        config = self.application.config
        self.jobs, tables = _planned(given, config, Composer(self.application.load))
        todo: list[Job] = []
        for job in self.jobs:
            settings = parse(job.cfg)
            refuse_several_processes(settings.trainer)
            if settings.force or not settings.run.result():
                check_sources(settings.strategies)
                todo.append(job)
        parallel = max(1, min(_at_once(config.hydra.launcher), len(todo)))
        shared = frozenset.intersection(*(frozenset(job.overrides) for job in self.jobs))
        self.progress = Progress([job.folder for job in self.jobs], [job.folder for job in todo], parallel, shared)
        if tables:
            outputs = Path(self.jobs[0].cfg.outputs)
            plan = Plan(config.ablation.design, self.application.task.command, outputs, tables)
            self.report = keep_plan(outputs / "ablation", plan)
        elif len({job.folder.parent for job in self.jobs}) > 1:
            self.report = Path(os.path.commonpath([job.folder.parents[2] for job in self.jobs]))
        _show(self.jobs, tables, self.progress)
        size = size or len(todo) or 1
        return [[list(job.overrides) for job in todo[start : start + size]] for start in range(0, len(todo), size)]

    def _launch(self, launcher: Launcher, batch: Sequence[Sequence[str]], started: int) -> None:
        try:
            launcher.launch(batch, initial_job_idx=started)
        except Exception as error:
            if exit_code(error) is not None:
                raise
            # A launcher's process was killed, or its cluster gave up.
            why = f"{type(error).__name__}: {one_line(error)}"
            raise RunError(f"the launcher stopped ({why}); the same command goes on from there") from error

    def end(self) -> None:
        """Wait for runs that another sweep trains, and say what came out; raises ``RunError`` naming what failed."""
        for folder in self.progress.left:
            _wait_for(Run(folder))
        print_outcome(self.jobs, self.progress.shared)
        if self.report:
            say(f"what it says: {command('tools/report.py', self.report)}")
        left = self.progress.left
        named = "; ".join(f"[{folder}] {Run(folder).failure() or 'stopped'}" for folder in left)
        if left:
            raise RunError(
                f"{len(left)} of {len(self.progress.every)} runs failed; the same command tries them again: {named}"
            )


def _planned(
    given: Mapping[str, Sequence[str]], config: DictConfig, composer: Composer
) -> tuple[list[Job], list[Table]]:
    """The runs, and the tables of an ablation where one is wanted."""
    base, node = split_ablation(config)
    if node is None:
        return composer.distinct(given), []
    with job_config(config.copy()):
        outputs = Path(base.outputs)
    rest = {key: values for key, values in given.items() if key != "ablation" and not key.startswith("ablation.")}
    if list(rest.get("experiment", [])) == ["experiment=ablation"]:
        del rest["experiment"]
    if "experiment" in rest:
        rest["ablation.design"] = ["ablation.design=null"]  # the experiment may bring one along, which no run has
    return plan_ablation(rest, parse_node(AblationConfig, node, "ablation"), outputs, composer)


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
            done = sum(bool(Run(Path(jobs[0].cfg.outputs) / folder).result()) for folder in row.runs.values())
            say(f"    {row.name:<24} {done}/{len(row.runs)}")


def _shape(jobs: Sequence[Job], tables: Sequence[Table]) -> str:
    if not tables:
        return f"{len(jobs)} runs"
    rows, seeds = (len(tables[0].rows), len(tables[0].rows[0].runs))
    several = f"{len(tables)} tables x " if len(tables) > 1 else ""
    return f"{several}{rows} rows x {seeds} seeds = {len(jobs)} runs"


def _wait_for(run: Run) -> None:
    """Until no other process trains it."""
    if run.failure() or not run.is_training():
        return
    say(f"waiting for {run}, which another sweep is training")
    with run.alone(wait=True):
        pass


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
