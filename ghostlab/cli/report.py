"""What the runs below a folder, or of an ablation, say and how certainly."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ghostlab.cli.guard import guarded
from ghostlab.errors import UsageError
from ghostlab.reports.latency import measure_latencies
from ghostlab.reports.screen import print_report
from ghostlab.reports.summarize import summarize
from ghostlab.reports.summary import Report
from ghostlab.reports.write import watch, write_report
from ghostlab.shell import command

EVERY = 10


def run(given: argparse.Namespace) -> None:
    """Write the report's files into the folder, and print its tables."""

    def look() -> Report:
        return summarize(given.folder, given.reference, given.compare)

    if given.watch is not None and given.watch < 1:
        raise UsageError(f"--watch {given.watch}: seconds, at least 1")
    report = look()
    if given.latency:
        measure_latencies(report)
        report = look()
    try:
        report = watch(look, given.watch, print) if given.watch else report
    except KeyboardInterrupt:
        report = look()
    write_report(report)
    print_report(report, Console())
    if all(line.latency_ms is None for section in report.sections for line in section.lines):
        print(f"latency is not measured: {command('tools/report.py', given.folder, '--latency')}")
    print(f"report: {report.folder / 'report.html'}")


def main(arguments: list[str], prog: str = "report.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("folder", type=Path, help="with run folders below it, or that of an ablation")
    parser.add_argument("--reference", metavar="ROW", help="compare all rows with this one")
    parser.add_argument("--compare", metavar="A:B", action="append", default=[], help="row A against row B as well")
    parser.add_argument("--latency", action="store_true", help="measure the deployed networks on one CPU thread")
    parser.add_argument(
        "--watch", metavar="SECONDS", type=int, nargs="?", const=EVERY, help="write again while runs train"
    )
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))
