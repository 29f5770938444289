"""What each strategy costs in training time and memory: short runs of the training command, one after the other."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from ghostlab.benchmarks.commands import train_run
from ghostlab.files import write_text
from ghostlab.quantities import ratio
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import tracked

__all__ = ["strategies"]

STRATEGIES_FILE = Path("outputs/benchmarks/strategies.json")
COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("strategy", "strategy", align="left"),
    Column("images_per_second", "images/s", show="{:,.0f}".format),
    Column("seconds", "train time", show=ratio),
    Column("memory", "peak memory", show=ratio),
)
MORE_EPOCHS = {"progressive": ["trainer.max_epochs=5", "strategy.progressive.epochs=[2,1,1,1]"]}
"""What else the run of a strategy needs, for every one of its epochs but the first to be worth measuring."""


def strategies(names: list[str], repeats: int, overrides: list[str]) -> None:
    """Train two epochs with each strategy, one after the other and that ``repeats`` times; print medians.

    Every run is a process of its own. Speed is that of the second epoch (with ``progressive`` that of five epochs but
    the first, one a stage), data loading included, as a ratio to the baseline's of the same round, so that a machine
    whose speed drifts does not favour anyone.
    """
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for job in tracked(range(repeats * len(names)), "benchmark"):
            seed, name = job // len(names), names[job % len(names)]
            measured[name].append(train_shortly(name, seed, Path(folder), overrides))
    table: list[dict[str, Any]] = [
        {"strategy": name, **ratios_to_baseline(measured["baseline"], runs)} for name, runs in measured.items()
    ]
    write_text(
        STRATEGIES_FILE, json.dumps({"overrides": overrides, "repeats": repeats, "rows": table}, indent=2) + "\n"
    )
    Console().print(terminal_table(COLUMNS, table, " ".join(["training cost of strategies", *overrides])))
    print(f"written to {STRATEGIES_FILE}")


def train_shortly(name: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, float]:
    """Seconds per image and peak memory in MiB of one short run, NaN where the system does not tell it."""
    epochs = MORE_EPOCHS.get(name, ["trainer.max_epochs=2"])
    run = train_run(f"strategy={name}", f"seed={seed}", f"outputs={folder}", *epochs, *overrides)
    seconds = statistics.mean(1 / row["images_per_second"] for row in run.history()[1:])
    return {"seconds": seconds, "memory": (run.result() or {}).get("peak_memory_mb") or math.nan}


def ratios_to_baseline(baseline: list[dict[str, float]], runs: list[dict[str, float]]) -> dict[str, float]:
    """Median ratios to the baseline, round by round."""
    ratios = {
        key: statistics.median(run[key] / base[key] for run, base in zip(runs, baseline, strict=True))
        for key in ("seconds", "memory")
    }
    return {"images_per_second": statistics.median(1 / run["seconds"] for run in runs), **ratios}
