"""How long a deployed network takes for one image, and how many it takes in a second, side by side on a processor."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ghostlab.benchmarks.contestants import contestants
from ghostlab.benchmarks.deployables import EAGER, Deployable
from ghostlab.benchmarks.scatter import Horizontal, ScatterPoint, scatter
from ghostlab.benchmarks.timing import Conditions, Times, TimingRow, measure
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.errors import UsageError
from ghostlab.files import write_text
from ghostlab.quantities import quantity

__all__ = ["DEFAULT", "LatencyConfig", "latency", "processor"]

OUT = Path("outputs/benchmarks/latency.json")
DEFAULT = (
    "ghostnetv2",
    "ghostnetv3_100:folded_by=timm",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "repghostnet_100",
    "mobileone_s1",
)


@dataclass(frozen=True)
class LatencyConfig:
    """What to measure, and how."""

    names: Sequence[str] = DEFAULT
    runtimes: Sequence[str] = (EAGER,)
    image_size: int | None = None
    """In pixels; None: that of each."""
    batches: tuple[int, ...] = (1, 16)
    threads: tuple[int, ...] = (1,)
    rounds: int = 20
    accuracy: bool = False
    """Whether the chart is over top-1, and not over MACs."""

    def conditions(self) -> list[Conditions]:
        """For each number of threads."""
        return [Conditions(self.batches, threads, self.rounds) for threads in dict.fromkeys(self.threads)]


def latency(wanted: LatencyConfig) -> None:
    """Measure models, runs and files side by side, print a table for each batch and number of threads, and write
    ``OUT`` with a chart of the first of these beside it."""
    conditions = wanted.conditions()
    with tempfile.TemporaryDirectory() as folder:
        found = contestants(wanted.names, wanted.runtimes, wanted.image_size, Path(folder))
        if wanted.accuracy:
            _require_accuracies(found)
        rows: list[TimingRow] = []
        for one in conditions:
            rows += measure(found, one)
            show(rows[-len(found) :], _where(one.threads), one)
    _write(rows, conditions, {one.name: one.top1 for one in found})
    _chart(rows[: len(found)], found, wanted)


def _write(rows: Sequence[TimingRow], conditions: Sequence[Conditions], top1: dict[str, float | None]) -> None:
    shared = {**asdict(conditions[0]), "threads": [one.threads for one in conditions]}
    versions = {kind: FORMATS[kind].runtime for kind in sorted({row.runtime for row in rows} - {EAGER})}
    content = {"conditions": shared, "processor": processor(), "torch": torch.__version__, "runtimes": versions}
    listed = [{**asdict(row), "top1": top1[row.name]} for row in rows]
    write_text(OUT, json.dumps({**content, "rows": listed}, indent=2) + "\n")


def _chart(rows: Sequence[TimingRow], found: Sequence[Deployable], wanted: LatencyConfig) -> None:
    accuracy, macs = ("top-1 on the validation images, %", False), ("MACs of an image, in millions", True)
    horizontal = Horizontal(*(accuracy if wanted.accuracy else macs))
    points = []
    for row, one in zip(rows, found, strict=True):
        value = one.top1 if wanted.accuracy else row.macs and row.macs / 1e6
        if value is not None:
            times = row.times[0]
            points.append(ScatterPoint(row.name, row.runtime, value, 1e3 * times.mean, 1e3 * times.p95))
    unknown = [row.name for row in rows if row.name not in {point.name for point in points}]
    if unknown:
        print(f"not in the chart, for their MACs are not known: {', '.join(unknown)}")
    if not points:
        print(f"written to {OUT}")
        return
    title = f"batch {wanted.batches[0]}, mean and 95th percentile, {_where(rows[0].threads)}"
    scatter(OUT.with_suffix(".png"), title, horizontal, points)
    print(f"written to {OUT} and {OUT.with_suffix('.png')}")


def _require_accuracies(found: Sequence[Deployable]) -> None:
    unknown = [one.name for one in found if one.top1 is None]
    if unknown:
        raise UsageError(
            f"--accuracy: top-1 is known of finished runs and of files that tools/export.py or tools/fuse.py wrote and"
            f" measured, but not of {', '.join(unknown)}"
        )


def _where(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)} of {processor()}, float32"


def processor() -> str:
    """The name of the processor, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def show(rows: Sequence[TimingRow], where: str, conditions: Conditions) -> None:
    """Print what was measured, then a table for each batch."""
    table = _titled(f"deployed networks on {where}", "as", "px", "params", "MACs", "load, ms", "first, ms")
    for row in rows:
        counts = ("-" if number is None else quantity(number) for number in (row.params, row.macs))
        cold = (f"{1e3 * seconds:,.1f}" for seconds in (row.load, row.first_call))
        table.add_row(row.name, row.form, str(row.image_size), *counts, *cold)
    Console().print(table)
    for k, batch in enumerate(conditions.batches):
        make = _throughput if k else _latency
        Console().print(make(f"batch {batch}, {conditions.rounds} calls", [(row.name, row.times[k]) for row in rows]))


def _latency(title: str, rows: Sequence[tuple[str, Times]]) -> Table:
    table = _titled(title, "mean, ms", "median", "p95", "time", "from - to")
    for name, times in rows:
        milliseconds = (f"{1e3 * value:,.1f}" for value in (times.mean, times.median, times.p95))
        table.add_row(name, *milliseconds, *_against_first(times))
    return table


def _throughput(title: str, rows: Sequence[tuple[str, Times]]) -> Table:
    table = _titled(title, "images/s", "time", "from - to")
    for name, times in rows:
        table.add_row(name, f"{times.images_per_second:,.1f}", *_against_first(times))
    return table


def _titled(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _against_first(times: Times) -> tuple[str, str]:
    return f"{times.ratio:.2f}x", f"{times.low:.2f} - {times.high:.2f}"
