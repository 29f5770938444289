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

from ghostlab.benchmarks.contestants import contestants
from ghostlab.benchmarks.deployables import EAGER, Deployable
from ghostlab.benchmarks.scatter import HorizontalAxis, ScatterPoint, scatter
from ghostlab.benchmarks.timing import Conditions, Times, TimingRow, measure
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.errors import UsageError
from ghostlab.files import write_text
from ghostlab.quantities import quantity, ratio
from ghostlab.tables import Column, terminal_table

__all__ = ["DEFAULT", "LatencyConfig", "latency", "processor"]

LATENCY_FILE = Path("outputs/benchmarks/latency.json")
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


def latency(config: LatencyConfig) -> None:
    """Measure models, runs and files side by side, print a table for each batch and number of threads, and write
    ``LATENCY_FILE`` with a chart of the first of these beside it."""
    conditions = config.conditions()
    with tempfile.TemporaryDirectory() as folder:
        found = contestants(config.names, config.runtimes, config.image_size, Path(folder))
        if config.accuracy:
            _require_accuracies(found)
        rows: list[TimingRow] = []
        for one in conditions:
            rows += measure(found, one)
            print_results(rows[-len(found) :], _hardware(one.threads), one)
    _write(rows, conditions, {one.name: one.top1 for one in found})
    _chart(rows[: len(found)], found, config)


def _write(rows: Sequence[TimingRow], conditions: Sequence[Conditions], top1: dict[str, float | None]) -> None:
    shared = {**asdict(conditions[0]), "threads": [one.threads for one in conditions]}
    versions = {kind: FORMATS[kind].runtime for kind in sorted({row.runtime for row in rows} - {EAGER})}
    content = {"conditions": shared, "processor": processor(), "torch": torch.__version__, "runtimes": versions}
    listed = [{**asdict(row), "top1": top1[row.name]} for row in rows]
    write_text(LATENCY_FILE, json.dumps({**content, "rows": listed}, indent=2) + "\n")


def _chart(rows: Sequence[TimingRow], found: Sequence[Deployable], config: LatencyConfig) -> None:
    accuracy, macs = ("top-1 on the validation images, %", False), ("MACs of an image, in millions", True)
    horizontal = HorizontalAxis(*(accuracy if config.accuracy else macs))
    points = []
    for row, one in zip(rows, found, strict=True):
        value = one.top1 if config.accuracy else row.macs and row.macs / 1e6
        if value is not None:
            times = row.times[0]
            points.append(ScatterPoint(row.name, row.runtime, value, 1e3 * times.mean, 1e3 * times.p95))
    unknown = [row.name for row in rows if row.name not in {point.name for point in points}]
    if unknown:
        print(f"not in the chart, for their MACs are not known: {', '.join(unknown)}")
    if not points:
        print(f"written to {LATENCY_FILE}")
        return
    title = f"batch {config.batches[0]}, mean and 95th percentile, {_hardware(rows[0].threads)}"
    scatter(LATENCY_FILE.with_suffix(".png"), title, horizontal, points)
    print(f"written to {LATENCY_FILE} and {LATENCY_FILE.with_suffix('.png')}")


def _require_accuracies(found: Sequence[Deployable]) -> None:
    unknown = [one.name for one in found if one.top1 is None]
    if unknown:
        raise UsageError(
            f"--accuracy: top-1 is known of finished runs and of files that tools/export.py or tools/fuse.py wrote and"
            f" measured, but not of {', '.join(unknown)}"
        )


def _hardware(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)} of {processor()}, float32"


def processor() -> str:
    """The name of the processor, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def print_results(rows: Sequence[TimingRow], where: str, conditions: Conditions) -> None:
    """Print what was measured, then a table for each batch."""
    Console().print(terminal_table(NETWORK_COLUMNS, rows, f"deployed networks on {where}"))
    for k, batch in enumerate(conditions.batches):
        times = [(row.name, row.times[k]) for row in rows]
        columns = THROUGHPUT_COLUMNS if k else LATENCY_COLUMNS
        Console().print(terminal_table(columns, times, f"batch {batch}, {conditions.rounds} calls"))


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f}"


NETWORK_COLUMNS: tuple[Column[TimingRow], ...] = (
    Column("name", align="left"),
    Column("form", "as"),
    Column("image_size", "px"),
    Column("params", "params", show=quantity),
    Column("macs", "MACs", show=quantity),
    Column("load", "load, ms", show=_milliseconds),
    Column("first_call", "first, ms", show=_milliseconds),
)
NAME_COLUMN: Column[tuple[str, Times]] = Column("name", get=lambda row: row[0], align="left")
RATIO_COLUMNS: tuple[Column[tuple[str, Times]], ...] = (
    Column("ratio", "time", lambda row: row[1].ratio, ratio),
    Column("low", "from - to", cell=lambda row: f"{row[1].low:.2f} - {row[1].high:.2f}"),
)
LATENCY_COLUMNS: tuple[Column[tuple[str, Times]], ...] = (
    NAME_COLUMN,
    Column("mean", "mean, ms", lambda row: row[1].mean, _milliseconds),
    Column("median", "median", lambda row: row[1].median, _milliseconds),
    Column("p95", "p95", lambda row: row[1].p95, _milliseconds),
    *RATIO_COLUMNS,
)
THROUGHPUT_COLUMNS: tuple[Column[tuple[str, Times]], ...] = (
    NAME_COLUMN,
    Column("images_per_second", "images/s", lambda row: row[1].images_per_second, "{:,.1f}".format),
    *RATIO_COLUMNS,
)
