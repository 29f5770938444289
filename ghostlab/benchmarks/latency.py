"""How long a deployed network takes for one image, and how many it takes in a second, side by side on one core."""

from __future__ import annotations

import functools
import json
import platform
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ghostlab.benchmarks.deployables import Deployable, deployable
from ghostlab.benchmarks.scatter import Point, scatter
from ghostlab.benchmarks.turns import Answer, Seat
from ghostlab.errors import UsageError
from ghostlab.files import write_text
from ghostlab.training.report import quantity

__all__ = ["DEFAULT", "Conditions", "Row", "Times", "latency", "measure"]

OUT = Path("outputs/benchmarks/latency.json")
DEFAULT = (
    "ghostnetv2",
    "ghostnetv3_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "resnet50",
)
WARM_UP = 3
"""Calls with each batch before anything is measured."""


@dataclass(frozen=True)
class Conditions:
    """What all contestants share."""

    batches: tuple[int, ...]
    threads: int
    rounds: int

    def __post_init__(self) -> None:
        for option, values in {"batch": self.batches, "threads": (self.threads,), "repeats": (self.rounds,)}.items():
            if min(values) < 1:
                raise UsageError(f"--{option} {min(values)}: must be at least 1")


@dataclass(frozen=True)
class Times:
    """Calls with one batch, a round each: seconds of a call, and ratios to the first contestant of the same round."""

    batch: int
    seconds: list[float]
    mean: float
    median: float
    p95: float
    images_per_second: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A contestant: what it is, the seconds of its very first call, and the times of the others."""

    name: str
    form: str
    image_size: int
    params: int
    macs: int
    first_call: float
    times: list[Times]


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


def measure(contestants: Sequence[Deployable], conditions: Conditions) -> list[Row]:
    """Let every contestant, in a process of its own, take its turns: in each round one call with every batch.

    A turn begins with a call that is not timed, since after another contestant's the caches hold other things.
    """
    _require_unique([one.name for one in contestants])
    with ExitStack() as stack:
        prepares = [(one.name, functools.partial(_prepare, one, conditions)) for one in contestants]
        seats = [stack.enter_context(Seat(name, prepare)) for name, prepare in prepares]
        for seat in seats:
            seat.wait()  # they are made side by side, and only then run
        facts = [seat.ask("first call") for seat in seats]
        turns: list[list[list[float]]] = [[] for _ in seats]
        for _ in track(range(conditions.rounds), f"{len(seats)} contestants", console=Console(stderr=True)):
            for seat, seconds in zip(seats, turns, strict=True):
                seconds.append(seat.ask("turn"))
    return [
        Row(seat.name, **fact, times=[_times(turns, i, k, batch) for k, batch in enumerate(conditions.batches)])
        for i, (seat, fact) in enumerate(zip(seats, facts, strict=True))
    ]


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


def _times(turns: Sequence[Sequence[Sequence[float]]], contestant: int, k: int, batch: int) -> Times:
    """``turns`` are those of all contestants, by round and batch; ``k`` is the batch's place among them."""
    seconds, first = ([turn[k] for turn in turns[i]] for i in (contestant, 0))
    ratios = sorted(one / other for one, other in zip(seconds, first, strict=True))
    mean, p95 = statistics.mean(seconds), float(np.percentile(seconds, 95))
    ratio = statistics.median(ratios)
    return Times(batch, seconds, mean, statistics.median(seconds), p95, batch / mean, ratio, ratios[0], ratios[-1])


def _require_unique(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"'{name}' is named twice")


def _prepare(contestant: Deployable, conditions: Conditions) -> Answer:
    torch.set_num_threads(conditions.threads)
    ready = contestant.prepare()
    shape = (3, ready.image_size, ready.image_size)
    images = [torch.randn(batch, *shape).to(memory_format=torch.channels_last) for batch in conditions.batches]

    def call(batch: torch.Tensor) -> float:
        with torch.inference_mode():
            began = time.perf_counter()
            ready.call(batch)
            return time.perf_counter() - began

    def answer(question: str) -> Any:
        if question == "turn":
            call(images[0])
            return [call(batch) for batch in images]
        facts = {key: getattr(ready, key) for key in ("form", "image_size", "params", "macs")}
        first = call(images[0])
        for batch in images:
            for _ in range(WARM_UP):
                call(batch)
        return {**facts, "first_call": first}

    return answer
