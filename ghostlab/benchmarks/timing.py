"""Calls of several contestants, each in a process of its own, taking turns, and what their times say."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostlab.benchmarks.deployables import EAGER, Deployable, LoadedNetwork
from ghostlab.benchmarks.turns import Handler, WorkerProcess, answering
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.errors import UsageError
from ghostlab.terminal import tracked

__all__ = ["WARM_UP", "Conditions", "Times", "TimingRow", "measure"]

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
class TimingRow:
    """A contestant: what it is, and the seconds until it was there, of its very first call, and of the others."""

    name: str
    runtime: str
    threads: int
    form: str
    image_size: int
    params: int | None
    macs: int | None
    load: float
    first_call: float
    times: list[Times]


def measure(contestants: Sequence[Deployable], conditions: Conditions) -> list[TimingRow]:
    """Let every contestant, in a process of its own, take its turns: in each round one call with every batch.

    A turn begins with a call that is not timed, since after another contestant's the caches hold other things.
    """
    _require_unique([one.name for one in contestants])
    with ExitStack() as stack:
        prepares = [(one.name, answering(functools.partial(_prepare, one, conditions))) for one in contestants]
        seats = [stack.enter_context(WorkerProcess(name, prepare)) for name, prepare in prepares]
        for seat in seats:
            seat.wait()  # they import side by side
        facts = [seat.ask("first call") for seat in seats]
        turns: list[list[list[float]]] = [[] for _ in seats]
        for _ in tracked(range(conditions.rounds), f"{len(seats)} contestants"):
            for seat, seconds in zip(seats, turns, strict=True):
                seconds.append(seat.ask("turn"))
    return [
        TimingRow(
            name=one.name,
            runtime=one.runtime,
            threads=conditions.threads,
            **fact,
            times=[_times(turns, i, k, batch) for k, batch in enumerate(conditions.batches)],
        )
        for i, (one, fact) in enumerate(zip(contestants, facts, strict=True))
    ]


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


def _prepare(contestant: Deployable, conditions: Conditions) -> Handler:
    torch.set_num_threads(conditions.threads)
    if contestant.runtime != EAGER:
        FORMATS[contestant.runtime].import_runtime()
    turn: Callable[[], list[float]]

    def answer(question: str) -> Any:
        nonlocal turn
        if question == "turn":
            return turn()
        facts, turn = _started(contestant, conditions)
        return facts

    return answer


def _started(contestant: Deployable, conditions: Conditions) -> tuple[dict[str, Any], Callable[[], list[float]]]:
    """Load it, call it for the first time, and warm it up; what was found, and what it does in a turn."""
    ready = contestant.prepare()
    # Each in the order that it computes in: a copy would be timed.
    layout = torch.channels_last if contestant.runtime == EAGER else torch.contiguous_format
    shape = (3, ready.image_size, ready.image_size)
    images = [torch.randn(batch, *shape).to(memory_format=layout) for batch in conditions.batches]
    facts = {key: getattr(ready, key) for key in ("form", "image_size", "params", "macs", "load")}
    first = _timed(ready, images[0])
    for batch in images:
        for _ in range(WARM_UP):
            _timed(ready, batch)

    def turn() -> list[float]:
        _timed(ready, images[0])
        return [_timed(ready, batch) for batch in images]

    return {**facts, "first_call": first}, turn


def _timed(ready: LoadedNetwork, images: Tensor) -> float:
    with torch.inference_mode():
        began = time.perf_counter()
        ready.call(images)
        return time.perf_counter() - began
