"""The files of a search: ``table.md`` to read, ``table.csv`` to reckon with, ``search.json`` with everything."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from typing import Any

from ghostlab.files import write_text
from ghostlab.models.scaling import Factors
from ghostlab.quantities import quantity
from ghostlab.studies.scaling.budget import Candidate, SearchPlan
from ghostlab.studies.scaling.compound import enlarged
from ghostlab.studies.scaling.report import SearchRow, verdict
from ghostlab.studies.scaling.runs import Outcome
from ghostlab.studies.scaling.settings import Search

__all__ = ["COLUMNS", "about_grid", "best", "cells", "commands", "write_tables"]

COLUMNS = ("scaled", "alpha", "beta", "gamma", "px", "params", "MACs", "off", "top-1", "seeds", "objective")
PHIS = (1, 2, 3)


def write_tables(
    search: Search, plan: SearchPlan, table: Sequence[SearchRow], outcomes: Sequence[Outcome], command: Sequence[str]
) -> None:
    """Write the three files into the search's folder."""
    write_text(search.folder / "table.md", _markdown(search, plan, table, command))
    write_text(search.folder / "table.csv", _csv(plan, table))
    write_text(
        search.folder / "search.json", json.dumps(_content(search, plan, table, outcomes, command), indent=2) + "\n"
    )


def commands(search: Search, chosen: Candidate) -> list[dict[str, Any]]:
    """For phi = 1, 2, 3 the command that trains the network, and its measured MACs as a factor of the base's."""
    base, found = search.base, []
    own = search.networks.counts(*vars(base).values()).macs
    for phi in PHIS:
        sizes = enlarged(base, chosen.factors, phi, search.wanted.rules.multiple)
        macs = search.networks.counts(*sizes).macs
        found.append({"phi": phi, "macs": macs, "times": macs / own, "command": search.command(*sizes)})
    return found


def cells(plan: SearchPlan, row: SearchRow) -> list[str]:
    """A line of the table, as in ``COLUMNS``."""
    one = row.candidate
    spread = "" if row.spread is None else f" +- {row.spread:.2f}"
    return [
        one.kind,
        *(f"{factor:.4g}" for factor in one.factors),
        f"{one.px}",
        quantity(one.params),
        quantity(one.macs),
        "" if one == plan.base else f"{plan.deviation(one):+.1%}",
        f"{row.mean:.2f}{spread}" if row.top1 else "failed" if row.failed else "-",
        f"{len(row.top1)}",
        f"{row.objective:.2f}" if row.top1 else "-",
    ]


def best(plan: SearchPlan, table: Sequence[SearchRow]) -> Candidate | None:
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
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cells(plan, row)) + " |" for row in table),
        "",
        *(f"- {line}" for line in verdict(table, search.wanted.seeds)),
        *(f"- {line}" for line in about_grid(plan)),
    ]
    if found := best(plan, table):
        factors = ", ".join(
            f"{name} {f:.4g}" for name, f in zip(("alpha", "beta", "gamma"), found.factors, strict=True)
        )
        lines += ["", f"## The best: {factors}", ""]
        lines += [
            f"- phi {one['phi']}, {one['times']:.2f}x MACs: `{one['command']}`" for one in commands(search, found)
        ]
    return "\n".join(lines) + "\n"


def about_grid(plan: SearchPlan) -> list[str]:
    """Which points of the grid are no candidates of their own, and why."""
    lines = [f"{plan.merged} points of the grid round to the network of another."] if plan.merged else []
    lines += [
        f"The same network as {one}: {'; '.join(map(_short, one.equal))}." for one in plan.candidates if one.equal
    ]
    if plan.left_out:
        named = "; ".join(f"{one} ({plan.deviation(one):+.1%})" for one in plan.left_out)
        lines.append(f"Too far from the budget: {named}.")
    return lines


def _short(factors: Factors) -> str:
    return f"depth {factors.depth:g}x, width {factors.width:g}x"


def _csv(plan: SearchPlan, table: Sequence[SearchRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("kind", "alpha", "beta", "gamma", "depth", "width", "px", "params", "macs", "deviation")
    writer.writerow([*names, "seeds", "top1_mean", "top1_sd", "objective"])
    for row in table:
        one = row.candidate
        figures = (row.mean, row.spread, row.objective) if row.top1 else (None, None, None)
        sizes = (one.depth, one.width, one.px, one.params, one.macs, round(plan.deviation(one), 6))
        writer.writerow([one.kind, *one.factors, *sizes, len(row.top1), *figures])
    return text.getvalue()


def _content(
    search: Search, plan: SearchPlan, table: Sequence[SearchRow], outcomes: Sequence[Outcome], command: Sequence[str]
) -> dict[str, Any]:
    found = best(plan, table)
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
        "best": found and {**_candidate(plan, found), "commands": commands(search, found)},
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    job, figures = outcome.job, ("top1", "top5", "loss", "seconds", "device")
    told = {key: outcome.result[key] for key in figures} if outcome.result else {"error": outcome.error}
    return {"candidate": str(job.candidate), "seed": job.seed, "folder": str(job.folder), **told}


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
