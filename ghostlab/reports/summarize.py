"""From a folder to what can be said about it: the plan, the runs on disk, and their comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ghostlab.errors import UsageError
from ghostlab.reports.effects import comparison_effects, describe_test, interactions, main_effects
from ghostlab.reports.latency import Latencies, read_latencies
from ghostlab.reports.lines import summary_line, with_shared_work
from ghostlab.reports.notes import table_notes
from ghostlab.reports.results import metric, read_runs, top1_by_seed
from ghostlab.reports.scan import Scan, scan
from ghostlab.reports.summary import Report, RunRecord, Section
from ghostlab.runs.run import run_folders
from ghostlab.shell import command
from ghostlab.statistics.paired import resolution
from ghostlab.studies.plan import Plan, Table, read_plan, with_comparison, with_reference

__all__ = ["summarize"]

TOP1 = ("top1", "top1_raw", "top1_ema")


def summarize(folder: Path, reference: str | None = None, compare: Sequence[str] = ()) -> Report:
    """All that the runs of an ablation, or those below any folder, say so far; nothing but files is read.

    ``reference`` is the row that all others are compared with in place of the plan's, each of ``compare`` a pair
    ``A:B`` of rows that are compared as well. Raises ``UsageError`` for a folder without runs and for unknown rows.
    """
    found = _open(folder)
    plan = with_reference(found.plan, reference) if reference else found.plan
    for pair in compare:
        plan = with_comparison(plan, pair)
    latencies = read_latencies(folder)
    sections = [_section(plan, table, latencies) for table in plan.tables]
    others = _others_by_table(plan, found.others)
    sections = [replace(section, others=left) for section, left in zip(sections, others, strict=True)]
    sections[0] = replace(sections[0], notes=[*found.notes, *sections[0].notes])
    states = Counter(run.state for section in sections for run in _runs(section))
    return Report(plan.kind, plan.command, folder, sections, states["finished"], states.total())


def _open(folder: Path) -> Scan:
    """The plan of an ablation, or one of what lies below the folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give one with run folders below it, such as outputs/digits")
    if plan := read_plan(folder):
        _check_comparisons(plan, folder)
        return Scan(plan, _unplanned_runs(plan), [])
    found = scan(folder, command("tools/report.py", folder))
    if not found.plan.tables:
        runs = len(found.others)
        alone = f"nothing to compare among its {runs} runs: no two differ in nothing but strategies and seed"
        raise UsageError(f"{folder}: {alone if runs else 'no runs below it'}")
    return found


def _check_comparisons(plan: Plan, folder: Path) -> None:
    """Raise ``UsageError`` for a plan that compares what it does not have."""
    rows = [[row.name for row in table.rows] for table in plan.tables]
    named = [{name for one in table.comparisons for name in (one.row, one.reference)} for table in plan.tables]
    if not rows or not all(own and one <= {*own} for own, one in zip(rows, named, strict=True)):
        raise UsageError(f"{folder / 'plan.json'}: has no rows, or compares rows that it does not have")


def _unplanned_runs(plan: Plan) -> list[str]:
    """Run folders of the plan's data and models that are not in it."""
    planned = {run for table in plan.tables for row in table.rows for run in row.runs.values()}
    places = sorted({_data_and_model(run) for run in planned})
    found = [(place / run).as_posix() for place in places for run in run_folders(plan.outputs / place)]
    return [run for run in found if run not in planned]


def _section(plan: Plan, table: Table, latencies: Latencies) -> Section:
    read = {row.name: read_runs(plan.outputs, table, row) for row in table.rows}
    runs, shared = with_shared_work({name: own for name, (own, _) in read.items()})
    top1 = {name: top1_by_seed(own) for name, own in runs.items()}
    step = resolution(_top1_values(runs))
    effects = comparison_effects(table, top1, step)
    own = {effect.row: effect for effect in reversed(effects)}
    reference = _reference(table)
    return Section(
        title=table.title,
        overrides=table.overrides,
        reference=reference,
        lines=[summary_line(row, runs[row.name], runs[reference], own.get(row.name), latencies) for row in table.rows],
        direct=[effect for effect in effects if effect is not own[effect.row]],
        interactions=interactions(table, top1, step),
        others=[],
        notes=table_notes(runs, [note for _, notes in read.values() for note in notes]) + shared,
        main=main_effects(table, top1, step) if plan.kind == "factorial" else [],
        method=describe_test(table),
    )


def _reference(table: Table) -> str:
    """The row that most others are compared with."""
    first = {one.row: one.reference for one in reversed(table.comparisons)}
    return Counter(first.values()).most_common(1)[0][0] if first else table.rows[0].name


def _others_by_table(plan: Plan, left: Sequence[str]) -> list[list[str]]:
    """Run folders that are in no table, beside the table with the same data and model, else beside the first one."""
    beside: list[list[str]] = [[] for _ in plan.tables]
    places = [{_data_and_model(run) for row in table.rows for run in row.runs.values()} for table in plan.tables]
    for run in left:
        beside[next((number for number, own in enumerate(places) if _data_and_model(run) in own), 0)].append(run)
    return beside


def _data_and_model(run: str) -> Path:
    """``<data>/<model>`` of a run folder."""
    return Path(run).parent.parent


def _top1_values(runs: Mapping[str, Sequence[RunRecord]]) -> Iterator[float]:
    """Every top-1 that the runs of a table have left behind."""
    for run in (run for own in runs.values() for run in own):
        yield from (value for key in TOP1 if (value := metric(run, key)) is not None)
        yield from (row[key] for row in run.history for key in TOP1 if key in row)


def _runs(section: Section) -> Iterator[RunRecord]:
    return (run for line in section.lines for run in line.runs)
