"""The files of a report: ``table.md`` to read, ``table.csv`` to reckon with, ``report.html`` to look at."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ghostlab.files import write_text
from ghostlab.reports.summary import Effect, Interaction, Line, Report, Section
from ghostlab.reports.table import (
    EFFECT_COLUMNS,
    columns,
    direct_cells,
    effect_cells,
    interaction_cells,
    one_line,
    others_line,
    seeds_of,
)

__all__ = ["csv_text", "markdown", "write_report"]

LEGEND = (
    "Train time and memory are relative to the reference's, over the seeds that both have on the same device."
    " Latency is that of one image on one CPU thread, as a median; more seeds is an estimate, for 80 % power."
)
SPECIAL = re.compile(r"([\\`*\[\]<>|])")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
CSV_COLUMNS = (
    *("table", "kind", "strategy", "joins", "finished", "runs", "top1", "top1_sd", "top1_raw", "top1_ema"),
    *("against", "subject", "removed", "difference", "low", "high", "pairs", "p", "p_corrected", "verdict"),
    "more_seeds",
    *("seconds", "time_ratio", "memory_ratio", "params_deploy", "macs_deploy", "latency_ms"),
)


def write_report(report: Report, refresh: int | None = None) -> None:
    """Write the three files into the report's folder; with ``refresh`` the page loads itself again, in seconds."""
    from ghostlab.reports.html.page import page  # imports plotly

    write_text(report.folder / "table.md", markdown(report))
    write_text(report.folder / "table.csv", csv_text(report))
    write_text(report.folder / "report.html", page(report, refresh))


def markdown(report: Report) -> str:
    """All tables in Markdown, with what was tested and the command that repeats it."""
    lines = [
        f"# {report.finished} of {report.total} runs finished",
        "",
        f"`{one_line(report.command).replace('`', '')}`",
    ]
    for section in report.sections:
        lines += ["", f"## {_escaped(section.title)}", "", section.method, "", *_rows(section)]
        lines += _beside(section)
        notes = [*section.notes, *others_line(section)]
        lines += ["", *(f"- {_escaped(note)}" for note in notes)] if notes else []
    return "\n".join([*lines, "", LEGEND]) + "\n"


def csv_text(report: Report) -> str:
    """A line a row, direct comparison, main effect and interaction, in full precision; an empty cell is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for section in report.sections:
        writer.writerows({"table": _cell(section.title), **cells} for cells in _csv_rows(section))
    return text.getvalue()


def _rows(section: Section) -> Iterator[str]:
    shown = columns(section)
    yield from _header(["strategy", *(column.title for column in shown)])
    for line in section.lines:
        yield _row([line.name, *(column.cell(line) for column in shown)])


def _beside(section: Section) -> list[str]:
    """The tables of direct comparisons, main effects and interactions, as far as there are any."""
    direct = [[f"{one.row} against {one.reference}", *direct_cells(one)] for one in section.direct]
    main = [[one.subject, *effect_cells(one)] for one in section.main]
    pairs = [[" with ".join(one.strategies), *interaction_cells(one)] for one in section.interactions]
    return [
        *_more_rows("Compared directly", EFFECT_COLUMNS, direct),
        *_more_rows("On average over all others", EFFECT_COLUMNS, main),
        *_more_rows("Together, beyond the sum of both", EFFECT_COLUMNS[:-1], pairs),
    ]


def _more_rows(title: str, columns: Sequence[str], rows: Sequence[list[str]]) -> list[str]:
    return ["", *_header([title, *columns]), *map(_row, rows)] if rows else []


def _header(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|---" + "|---:" * (len(cells) - 1) + "|"]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", one_line(text))


def _csv_rows(section: Section) -> Iterator[dict[str, Any]]:
    for line in section.lines:
        yield {"kind": "row", **_csv_line(line), **(_csv_effect(line.effect) if line.effect else {})}
    for kind, effects in (("direct", section.direct), ("main", section.main)):
        for effect in effects:
            yield {"kind": kind, "strategy": _cell(effect.row), **_csv_effect(effect)}
    for one in section.interactions:
        yield {"kind": "interaction", "strategy": _cell(" with ".join(one.strategies)), **_csv_tested(one)}


def _csv_line(line: Line) -> dict[str, Any]:
    figures = ("top1", "top1_sd", "top1_raw", "top1_ema", "seconds", "time_ratio", "memory_ratio")
    deployed = ("params_deploy", "macs_deploy", "latency_ms")
    names = {"strategy": _cell(line.name), "joins": _cell(line.strategy)}
    runs = {"finished": seeds_of(line), "runs": len(line.runs)}
    return {**names, **runs, **{key: getattr(line, key) for key in (*figures, *deployed)}}


def _csv_effect(effect: Effect) -> dict[str, Any]:
    names = {"against": _cell(effect.reference), "subject": _cell(effect.subject), "removed": effect.removed}
    return {**names, **_csv_tested(effect), "more_seeds": effect.more_seeds}


def _csv_tested(one: Effect | Interaction) -> dict[str, Any]:
    tested = {"p_corrected": one.adjusted, "verdict": one.verdict}
    found = one.difference
    if found is None:
        return tested
    return {
        **tested,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "pairs": found.seeds,
        "p": found.p,
    }


def _cell(text: str) -> str:
    """What a spreadsheet takes for text, too."""
    return one_line(f"'{text}" if text.startswith(FORMULA) else text)
