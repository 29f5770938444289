"""A report that follows runs while they train."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ghostlab.reports.summary import Report
from ghostlab.reports.write import write_report

__all__ = ["watch"]


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
            told = ", ".join(f"{states[state]} {state}" for state in ("running", "failed") if states[state])
            say(
                f"{time.strftime('%H:%M:%S')}  {report.finished} of {report.total} runs finished"
                + (f", {told}" if told else "")
            )
        if over:
            return report
        last = repr(report)
        sleep(seconds)
