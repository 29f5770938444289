"""How long a deployed network takes for one image, and how many it takes in a second, side by side on one core."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ghostlab.benchmarks.deployables import deployable
from ghostlab.benchmarks.scatter import Point, scatter
from ghostlab.benchmarks.timing import Conditions, Row, Times, measure
from ghostlab.files import write_text
from ghostlab.training.report import quantity

__all__ = ["DEFAULT", "latency"]

OUT = Path("outputs/benchmarks/latency.json")
DEFAULT = (
    "ghostnetv2",
    "ghostnetv3_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "resnet50",
)


def latency(names: Sequence[str], image_size: int | None, conditions: Conditions) -> None:
    """Measure models and runs side by side, print a table for each batch, and write ``OUT`` with a chart beside it."""
    rows = measure([deployable(name, image_size) for name in names], conditions)
    where = f"{conditions.threads} thread{'s' * (conditions.threads > 1)} of {processor()}, float32, channels-last"
    content = {"conditions": asdict(conditions), "processor": processor(), "torch": torch.__version__}
    write_text(OUT, json.dumps({**content, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    show(rows, where, conditions)
    points = [Point(row.name, row.macs, 1e3 * row.times[0].mean, 1e3 * row.times[0].p95) for row in rows]
    scatter(OUT.with_suffix(".png"), f"batch {conditions.batches[0]}, mean and 95th percentile, {where}", points)
    print(f"written to {OUT} and {OUT.with_suffix('.png')}")


def processor() -> str:
    """The name of the processor, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def show(rows: Sequence[Row], where: str, conditions: Conditions) -> None:
    """Print what was measured, then a table for each batch."""
    table = _titled(f"deployed networks on {where}", "as", "px", "params", "MACs", "first call, ms")
    for row in rows:
        counts = quantity(row.params), quantity(row.macs)
        table.add_row(row.name, row.form, str(row.image_size), *counts, f"{1e3 * row.first_call:,.1f}")
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
