"""What each strategy costs in training time and memory: beside the baseline, epoch by epoch in turns."""

from __future__ import annotations

import functools
import json
import math
import re
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ghostlab.benchmarks.clock import train_in_turns
from ghostlab.benchmarks.turns import WorkerProcess
from ghostlab.errors import UsageError
from ghostlab.files import write_text
from ghostlab.quantities import ratio
from ghostlab.runs.compose import register_plugins
from ghostlab.strategies.registry import join
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import say, tracked

__all__ = ["Cost", "strategies"]

STRATEGIES_FILE = Path("outputs/benchmarks/strategies.json")
OWN = {
    "strategy": "use --only",
    "trainer.max_epochs": "use --repeats",
    "outputs": "its runs are not kept",
    "data.workers": "what loads images would be in other processes, whose time is not measured; must be 0",
}
"""Overrides that the benchmark decides itself."""
KNOB = re.compile(r"\+*strategy\.(\w+)\.")
STAGED = "progressive"
STAGES = 4
APART = 0.1
"""By how much ratios of rounds may differ before it is said."""


@dataclass(frozen=True)
class Cost:
    """Of a strategy: seconds an image, and as ratios to the baseline's its time, that of each round, and its memory."""

    strategy: str
    images_per_second: float
    time: float
    rounds: list[float]
    memory: float

    @property
    def apart(self) -> float:
        """How far the rounds are from each other, as a share of their median."""
        return (max(self.rounds) - min(self.rounds)) / statistics.median(self.rounds)


COLUMNS: tuple[Column[Cost], ...] = (
    Column("strategy", "strategy", align="left"),
    Column("images_per_second", "images/s", show="{:,.0f}".format),
    Column("time", "train time", show=ratio),
    Column("rounds", "of rounds", show=lambda rounds: f"{min(rounds):.2f} to {max(rounds):.2f}"),
    Column("memory", "peak memory", show=ratio),
)


def strategies(names: Sequence[str], rounds: int, overrides: Sequence[str]) -> None:
    """Measure each strategy against the baseline; print the ratios and write them to ``strategies.json``.

    The two train the same images in processes of one thread, an epoch of one and an epoch of the other. What is
    measured is the CPU time of an epoch's steps, loading included, on a GPU the time until it has done them. Raises
    ``UsageError`` for an override that the benchmark decides itself and for a strategy's value that no strategy uses.
    """
    register_plugins(overrides)
    _check(names, overrides)
    with tempfile.TemporaryDirectory() as folder:
        costs = [_cost(name, rounds, overrides, folder) for name in tracked(names, "benchmark")]
    rows = [vars(cost) for cost in costs]
    write_text(
        STRATEGIES_FILE, json.dumps({"overrides": list(overrides), "rounds": rounds, "rows": rows}, indent=2) + "\n"
    )
    _show(costs, overrides)


def _cost(name: str, rounds: int, overrides: Sequence[str], folder: str) -> Cost:
    if staged := STAGED in join(name):
        rounds = math.ceil(rounds / STAGES) * STAGES
    lines = {one: [*_own(one, rounds, overrides), f"outputs={folder}"] for one in ("baseline", name)}
    with WorkerProcess("baseline", functools.partial(train_in_turns, lines["baseline"], False)) as base:
        if name == "baseline":
            base.wait()
            turns = [(base.ask("epoch"),) * 2 for _ in range(rounds)]
        else:
            with WorkerProcess(name, functools.partial(train_in_turns, lines[name], False)) as seat:
                for one in (base, seat):
                    one.wait()
                turns = [(base.ask("epoch"), seat.ask("epoch")) for _ in range(rounds)]
    ratios = [own / its for (its, _), (own, _) in turns]
    average = statistics.mean if staged else statistics.median  # its stages differ, and all of them count
    (_, base_memory), (_, memory) = turns[-1]
    return Cost(name, 1 / average([own for _, (own, _) in turns]), average(ratios), ratios, memory / base_memory)


def _own(name: str, rounds: int, overrides: Sequence[str]) -> Iterator[str]:
    """What ``train.py`` is told to train a strategy: without the values of those that are not in it."""
    parts = join(name)
    yield from (line for line in overrides if not (knob := KNOB.match(line)) or knob[1] in parts)
    yield from (f"strategy={name}", f"trainer.max_epochs={rounds + 1}", "data.workers=0")
    yield "force=true"  # the baseline has been there before
    if STAGED in parts:
        later = rounds // STAGES
        yield f"strategy.{STAGED}.epochs=[{later + 1},{','.join([str(later)] * (STAGES - 1))}]"


def _check(names: Sequence[str], overrides: Sequence[str]) -> None:
    known = {part for name in names for part in join(name)}
    for line in overrides:
        key, _, value = line.lstrip("+").partition("=")
        if key in OWN and (key, value) != ("data.workers", "0"):
            raise UsageError(f"{line}: the benchmark sets {key} itself; {OWN[key]}")
        if (knob := KNOB.match(line)) and knob[1] not in known:
            raise UsageError(f"{line}: '{knob[1]}' is none of the strategies that are measured, {', '.join(names)}")


def _show(costs: Sequence[Cost], overrides: Sequence[str]) -> None:
    Console().print(terminal_table(COLUMNS, costs, " ".join(["training cost of strategies", *overrides])))
    for cost in costs:
        if cost.apart > APART and STAGED not in join(cost.strategy):
            say(f"{cost.strategy}: its rounds are {cost.apart:.0%} apart; measure again when the machine is idle")
    say(f"written to {STRATEGIES_FILE}")
