"""The files of a search: ``table.md`` and ``search.png`` to read, ``table.csv`` to reckon with, ``search.json``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ghostlab.files import write_file, write_text
from ghostlab.quantities import mean_and_sd, quantity
from ghostlab.studies.scaling.budget import Candidate, SearchPlan, scale_base
from ghostlab.studies.scaling.report import SearchRow, verdict
from ghostlab.studies.scaling.runs import Outcome, Search
from ghostlab.tables import UNKNOWN, Column, Rendering, columns_of, csv_table, markdown_table

__all__ = ["COLORS", "best_candidate", "describe_grid", "draw_search", "phi_commands", "search_columns", "write_tables"]

PHIS = (1, 2, 3)


def write_tables(
    search: Search, plan: SearchPlan, table: Sequence[SearchRow], outcomes: Sequence[Outcome], command: Sequence[str]
) -> None:
    """Write the three files into the search's folder."""
    write_text(search.folder / "table.md", _markdown(search, plan, table, command))
    write_text(search.folder / "table.csv", csv_table(columns_of(search_columns(plan), "csv"), table))
    write_text(
        search.folder / "search.json", json.dumps(_content(search, plan, table, outcomes, command), indent=2) + "\n"
    )


def phi_commands(search: Search, chosen: Candidate) -> list[dict[str, Any]]:
    """For phi = 1, 2, 3 the command that trains the network, and its measured MACs as a factor of the base's."""
    base, found = search.base, []
    own = search.networks.counts(*vars(base).values()).macs
    for phi in PHIS:
        sizes = scale_base(base, chosen.factors, phi, search.wanted.rules.multiple)
        macs = search.networks.counts(*sizes).macs
        found.append({"phi": phi, "macs": macs, "times": macs / own, "command": search.command(*sizes)})
    return found


def search_columns(plan: SearchPlan) -> list[Column[SearchRow]]:
    """The columns of a search's tables."""
    factors = {"alpha": "depth", "beta": "width", "gamma": "resolution"}

    def candidate(key: str, heading: str = "", path: str = "", **options: Any) -> Column[SearchRow]:
        renderings: Sequence[Rendering] = ("terminal", "markdown", "csv") if heading else ("csv",)
        return Column(key, heading, attrgetter(f"candidate.{path or key}"), renderings=renderings, **options)

    def off(row: SearchRow) -> str:
        return "" if row.candidate == plan.base else f"{plan.deviation(row.candidate):+.1%}"

    def top1(row: SearchRow) -> str:
        return mean_and_sd(row.mean, row.spread) if row.top1 else "failed" if row.failed else UNKNOWN

    both: Any = {"renderings": ("terminal", "markdown", "csv")}
    return [
        candidate("kind", "scaled", align="left"),
        *(candidate(key, key, f"factors.{name}", show="{:.4g}".format) for key, name in factors.items()),
        candidate("depth"),
        candidate("width"),
        candidate("px", "px"),
        candidate("params", "params", show=quantity),
        candidate("macs", "MACs", show=quantity),
        Column("deviation", "off", lambda row: round(plan.deviation(row.candidate), 6), cell=off, **both),
        Column("seeds", get=lambda row: len(row.top1), renderings=("csv",)),
        Column("top1_mean", "top-1", lambda row: row.mean if row.top1 else None, cell=top1, **both),
        Column("top1_sd", get=attrgetter("spread"), renderings=("csv",)),
        Column("seeds", "seeds", lambda row: len(row.top1)),
        Column("objective", "objective", lambda row: row.objective if row.top1 else None, "{:.2f}".format, **both),
    ]


def best_candidate(plan: SearchPlan, table: Sequence[SearchRow]) -> Candidate | None:
    """The first candidate with results; None before there is one."""
    return next((row.candidate for row in table if row.top1 and row.candidate != plan.base), None)


def _markdown(search: Search, plan: SearchPlan, table: Sequence[SearchRow], command: Sequence[str]) -> str:
    rules = search.wanted.rules
    lines = [
        f"# {search.name} on {search.data}: what to scale for {rules.budget:g}x the MACs",
        "",
        f"`{shlex.join(command)}`",
        "",
        f"Budget {quantity(plan.target)} MACs, measured on each network; {rules.solve} is solved for it. alpha (depth),"
        " beta (width) and gamma (resolution) are relative to the base; off: how far the MACs are from the budget;"
        f" top-1 in percent (trainer.max_epochs={search.epochs}), mean and standard deviation over seeds; objective ="
        f" top-1 * (MACs / budget)^{search.wanted.exponent:g}.",
        "",
        *markdown_table(columns_of(search_columns(plan), "markdown"), table),
        "",
        *(f"- {line}" for line in verdict(table, search.wanted.seeds)),
        *(f"- {line}" for line in describe_grid(plan)),
    ]
    if found := best_candidate(plan, table):
        factors = ", ".join(
            f"{name} {f:.4g}" for name, f in zip(("alpha", "beta", "gamma"), found.factors, strict=True)
        )
        lines += ["", f"## The best: {factors}", ""]
        lines += [
            f"- phi {one['phi']}, {one['times']:.2f}x MACs: `{one['command']}`" for one in phi_commands(search, found)
        ]
    return "\n".join(lines) + "\n"


def describe_grid(plan: SearchPlan) -> list[str]:
    """Which points of the grid are no candidates of their own, and why."""
    lines = [f"{plan.merged} points of the grid round to the network of another."] if plan.merged else []
    lines += [
        f"The same network as {one}: {'; '.join(f'depth {f.depth:g}x, width {f.width:g}x' for f in one.equal)}."
        for one in plan.candidates
        if one.equal
    ]
    if plan.left_out:
        named = "; ".join(f"{one} ({plan.deviation(one):+.1%})" for one in plan.left_out)
        lines.append(f"Too far from the budget: {named}.")
    return lines


def _content(
    search: Search, plan: SearchPlan, table: Sequence[SearchRow], outcomes: Sequence[Outcome], command: Sequence[str]
) -> dict[str, Any]:
    found = best_candidate(plan, table)
    return {
        "command": list(command),
        "model": search.name,
        "data": search.data,
        "rules": vars(search.wanted.rules),
        "seeds": search.wanted.seeds,
        "exponent": search.wanted.exponent,
        "target_macs": plan.target,
        "runs": [_run(outcome) for outcome in outcomes],
        "rows": [_row(plan, row) for row in table],
        "left_out": [_candidate(plan, one) for one in plan.left_out],
        "merged": plan.merged,
        "verdict": verdict(table, search.wanted.seeds),
        "best": found and {**_candidate(plan, found), "commands": phi_commands(search, found)},
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    job, figures = outcome.job, ("top1", "top5", "loss", "seconds", "device")
    figures_or_error = {key: outcome.result[key] for key in figures} if outcome.result else {"error": outcome.error}
    return {"candidate": str(job.candidate), "seed": job.seed, "folder": str(job.folder), **figures_or_error}


def _row(plan: SearchPlan, row: SearchRow) -> dict[str, Any]:
    figures = {"top1_mean": row.mean, "top1_sd": row.spread, "objective": row.objective} if row.top1 else {}
    return {**_candidate(plan, row.candidate), "top1": dict(row.top1), "failed": dict(row.failed), **figures}


def _candidate(plan: SearchPlan, one: Candidate) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "factors": one.factors._asdict(),
        "equal": [other._asdict() for other in one.equal],
        "depth": one.depth,
        "width": one.width,
        "px": one.px,
        "params": one.params,
        "macs": one.macs,
        "deviation": plan.deviation(one),
    }


COLORS = {
    "depth": "tab:orange",
    "width": "tab:green",
    "resolution": "tab:red",
    "compound": "tab:blue",
    "base": "black",
}
LEAST_SPAN = 4
"""Points that the axis shows at least, so that a tenth of a point does not look like a difference."""


def draw_search(path: Path, table: Sequence[SearchRow], title: str, subtitle: str) -> None:
    """A line for every row with results, the best on top: a dot for each seed, a diamond for their mean."""
    shown = [row for row in table if row.top1]
    figure = Figure(figsize=(8.5, 1.6 + 0.34 * max(3, len(shown))), layout="constrained")
    axes = figure.subplots()
    labelled: set[str] = set()
    for place, row in enumerate(shown):
        kind, color = row.candidate.kind, COLORS[row.candidate.kind]
        axes.plot([*row.top1.values()], [place] * len(row.top1), "o", color=color, markersize=4, alpha=0.5)
        label = None if kind in labelled else f"{kind} only" if row.candidate.single else kind
        axes.plot([row.mean], [place], "D", color=color, markersize=7, label=label)
        labelled.add(kind)
        if kind == "base":
            axes.axvline(row.mean, color=color, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(shown)), [str(row.candidate) for row in shown])
    axes.invert_yaxis()
    axes.set_xlabel("top-1 after the last epoch (%); dots: seeds, diamonds: their mean")
    axes.grid(axis="x", alpha=0.3)
    if shown:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    low, high = axes.get_xlim()
    if (missing := LEAST_SPAN - (high - low)) > 0:
        axes.set_xlim(low - missing / 2, high + missing / 2)
    axes.set_title(f"{title}\n{subtitle}", fontsize=9, loc="left")
    write_file(path, lambda to: figure.savefig(to, dpi=120))
