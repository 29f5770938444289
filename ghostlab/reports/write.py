"""The files of a report: ``table.md`` to read, ``table.csv`` to reckon with, ``report.html`` to look at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ghostlab.files import write_text
from ghostlab.reports.summary import Report
from ghostlab.reports.table import comparison_tables, line_columns, line_rows, line_table, others_note
from ghostlab.tables import columns_of, csv_table, escaped, markdown_table, one_line

__all__ = ["csv_text", "markdown", "watch", "write_report"]

LEGEND = (
    "Train time and memory are relative to the reference's, over the seeds that both have on the same device."
    " Latency is that of one image on one CPU thread, as a median; more seeds is an estimate, for 80 % power."
)


def write_report(report: Report, refresh: int | None = None) -> None:
    """Write the three files into the report's folder; with ``refresh`` the page loads itself again, in seconds."""
    from ghostlab.reports.html.page import render_page  # imports plotly

    write_text(report.folder / "table.md", markdown(report))
    write_text(report.folder / "table.csv", csv_text(report))
    write_text(report.folder / "report.html", render_page(report, refresh))


def watch(
    look: Callable[[], Report], seconds: int, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Report:
    """Write the report again whenever ``look`` finds something new, until all its runs are finished or failed.

    ``say`` gets a line each time; the page loads itself again until then.
    """
    last = ""
    while True:
        report = look()
        states = Counter(run.state for section in report.sections for line in section.lines for run in line.runs)
        over = states["finished"] + states["failed"] == report.total
        if over or repr(report) != last:
            write_report(report, None if over else seconds)
            others = [f", {states[state]} {state}" for state in ("running", "failed") if states[state]]
            progress = f"{report.finished} of {report.total} runs finished{''.join(others)}"
            say(f"{time.strftime('%H:%M:%S')}  {progress}")
        if over:
            return report
        last = repr(report)
        sleep(seconds)


def markdown(report: Report) -> str:
    """All tables in Markdown, with what was tested and the command that repeats it."""
    lines = [
        f"# {report.finished} of {report.total} runs finished",
        "",
        f"`{one_line(report.command).replace('`', '')}`",
    ]
    for section in report.sections:
        lines += ["", f"## {escaped(section.title)}", "", section.method]
        for table in (line_table(section), *comparison_tables(section)):
            lines += ["", *markdown_table(columns_of(table.columns, "markdown"), table.rows)]
        notes = [*section.notes, *others_note(section)]
        lines += ["", *(f"- {escaped(note)}" for note in notes)] if notes else []
    return "\n".join([*lines, "", LEGEND]) + "\n"


def csv_text(report: Report) -> str:
    """A line a row, direct comparison, main effect and interaction, in full precision; an empty cell is not known."""
    rows = [
        row
        for section in report.sections
        for row in (*line_rows(section), *(row for table in comparison_tables(section) for row in table.rows))
    ]
    return csv_table(columns_of(line_columns(None, 0), "csv"), rows)
