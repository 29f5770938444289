"""The search from beginning to end: plan, runs, and a report that is written after every run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ghostlab.errors import RunError
from ghostlab.quantities import duration, quantity
from ghostlab.studies.scaling.budget import SearchPlan, make_plan
from ghostlab.studies.scaling.report import SearchRow, search_rows, verdict
from ghostlab.studies.scaling.runs import (
    Outcome,
    Search,
    SearchConfig,
    SearchJob,
    finished_jobs,
    open_search,
    search_jobs,
    seconds_left,
    train_jobs,
)
from ghostlab.studies.scaling.tables import (
    best_candidate,
    describe_grid,
    draw_search,
    phi_commands,
    search_columns,
    write_tables,
)
from ghostlab.tables import Column, columns_of, terminal_table
from ghostlab.terminal import say

__all__ = ["search"]

OUTCOMES = ("top1_mean", "seeds", "objective")
"""Columns of which nothing is known before there are runs."""


def search(wanted: SearchConfig, command: Sequence[str], dry_run: bool = False) -> None:
    """Compare all candidates at the same MACs and say which factors are best; ``dry_run`` only says what would be done.

    Finished runs are not repeated, so the same command goes on with a search that was stopped, and more seeds add to
    it. ``command`` is kept in the report. Raises ``UsageError`` for a search that cannot be made, and ``RunError`` that
    names the runs that failed once all others are finished.
    """
    opened = open_search(wanted)
    with Console(stderr=True).status("measuring") as status:
        plan = make_plan(opened.networks, opened.base, wanted.rules, status.update)
    every = search_jobs(opened, plan)
    done = finished_jobs(every)
    ready = {outcome.job.folder for outcome in done}
    todo = [job for job in every if job.folder not in ready]
    _show_plan(opened, plan, every, len(todo), ready)
    if dry_run:
        return
    outcomes = _work(opened, plan, done, todo, command)
    table = _published(opened, plan, outcomes, command)
    _show_table(opened, plan, table)
    if failed := [outcome for outcome in outcomes if outcome.error]:
        named = "; ".join(f"[{one.job.candidate}, seed {one.job.seed}] {one.error}" for one in failed)
        raise RunError(f"{len(failed)} of {len(every)} runs failed; the same command tries them again: {named}")


def _work(
    opened: Search, plan: SearchPlan, done: Sequence[Outcome], todo: Sequence[SearchJob], command: Sequence[str]
) -> list[Outcome]:
    outcomes = list(done)
    _published(opened, plan, outcomes, command)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task("runs", total=len(todo), left=_left(outcomes, len(todo)))
        for place, outcome in enumerate(train_jobs(todo, opened.folder / "log.txt"), start=1):
            outcomes.append(outcome)
            _published(opened, plan, outcomes, command)
            left = _left(outcomes, len(todo) - place)
            progress.update(bar, advance=1, left=left)
            say(f"run {place}/{len(todo)}  {_told(outcome)}{f'  {left}' if left else ''}")
    return outcomes


def _told(outcome: Outcome) -> str:
    about = f"{outcome.job.candidate}, seed {outcome.job.seed}:"
    if outcome.result is None:
        return f"{about} failed: {outcome.error}"
    return f"{about} top-1 {outcome.result['top1']:.1f}  {duration(outcome.result['seconds'])}  {outcome.job.folder}"


def _left(outcomes: Sequence[Outcome], todo: int) -> str:
    seconds = seconds_left([outcome.result for outcome in outcomes if outcome.result], todo)
    return f"left {duration(seconds)}" if seconds else ""


def _published(
    opened: Search, plan: SearchPlan, outcomes: Sequence[Outcome], command: Sequence[str]
) -> list[SearchRow]:
    """Write the report of what is finished so far, and return its rows."""
    top1 = {(one.job.candidate, one.job.seed): one.result["top1"] for one in outcomes if one.result}
    failed = {(one.job.candidate, one.job.seed): one.error for one in outcomes if one.error}
    table = search_rows(plan, top1, failed, opened.wanted.exponent)
    write_tables(opened, plan, table, outcomes, command)
    budget, tolerance = opened.wanted.rules.budget, opened.wanted.rules.tolerance
    title = f"{opened.name} on {opened.data}: what is worth scaling for {budget:g}x the MACs?"
    subtitle = (
        f"All but the base have {quantity(plan.target)} MACs (+-{tolerance:.0%});"
        f" trainer.max_epochs={opened.epochs}, seeds: {opened.wanted.seeds}; best objective on top"
    )
    draw_search(opened.folder / "search.png", table, title, subtitle)
    return table


def _show_plan(opened: Search, plan: SearchPlan, every: Sequence[SearchJob], todo: int, ready: set[Path]) -> None:
    own, rules = plan.base, opened.wanted.rules
    say(
        f"base  {opened.name}, depth {own.depth:g}, width {own.width:g}, {own.px} px: {quantity(own.params)} params,"
        f" {quantity(own.macs)} MACs;  budget {rules.budget:g}x: {quantity(plan.target)} MACs"
    )

    def finished_runs(row: SearchRow) -> str:
        own_jobs = [job for job in every if job.candidate == row.candidate]
        return f"{sum(job.folder in ready for job in own_jobs)}/{len(own_jobs)}"

    columns = [one for one in columns_of(search_columns(plan), "terminal") if one.key not in OUTCOMES]
    columns.append(Column("finished", "finished", cell=finished_runs))
    _console().print(terminal_table(columns, search_rows(plan, {}, {}, 0), box=SIMPLE_HEAD))
    for line in describe_grid(plan):
        say(line)
    say(
        f"{len(plan.candidates)} candidates and the base, {len(every)} runs: {len(every) - todo} finished, {todo} to do"
    )


def _show_table(opened: Search, plan: SearchPlan, table: Sequence[SearchRow]) -> None:
    _console().print(terminal_table(columns_of(search_columns(plan), "terminal"), table, box=SIMPLE_HEAD))
    for line in verdict(table, opened.wanted.seeds):
        say(line)
    if found := best_candidate(plan, table):
        alpha, beta, gamma = found.factors
        say(f"alpha {alpha:.4g}  beta {beta:.4g}  gamma {gamma:.4g}")
        for one in phi_commands(opened, found):
            say(f"phi {one['phi']} ({one['times']:.2f}x MACs): {one['command']}")
    say(f"written to {opened.folder}: table.md, table.csv, search.json, search.png; output of the runs: log.txt")


def _console() -> Console:
    """Wide enough for the tables where the output is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=120)
