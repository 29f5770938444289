"""What each strategy costs in training time and memory: short runs of the training command, one after the other."""

from __future__ import annotations

import csv
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ghostlab.benchmarks.commands import trained
from ghostlab.files import write_text
from ghostlab.terminal import tracked

__all__ = ["strategies"]

OUT = Path("outputs/benchmarks/strategies.json")
LONGER = {"progressive": ["trainer.max_epochs=5", "strategy.progressive.epochs=[2,1,1,1]"]}
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
            measured[name].append(one_run(name, seed, Path(folder), overrides))
    table: list[dict[str, Any]] = [
        {"strategy": name, **against(measured["baseline"], runs)} for name, runs in measured.items()
    ]
    write_text(OUT, json.dumps({"overrides": overrides, "repeats": repeats, "rows": table}, indent=2) + "\n")
    show(table, overrides)


def one_run(name: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, float]:
    """Seconds per image and peak memory in MiB of one short run, NaN where the system does not tell it."""
    epochs = LONGER.get(name, ["trainer.max_epochs=2"])
    run = trained(f"strategy={name}", f"seed={seed}", f"outputs={folder}", *epochs, *overrides)
    rows = list(csv.DictReader((run / "metrics.csv").open()))[1:]
    memory = json.loads((run / "result.json").read_text())["peak_memory_mb"] or math.nan
    return {"seconds": statistics.mean(1 / float(row["images_per_second"]) for row in rows), "memory": memory}


def against(baseline: list[dict[str, float]], runs: list[dict[str, float]]) -> dict[str, float]:
    """Median ratios to the baseline, round by round."""
    ratios = {
        key: statistics.median(run[key] / base[key] for run, base in zip(runs, baseline, strict=True))
        for key in ("seconds", "memory")
    }
    return {"images_per_second": statistics.median(1 / run["seconds"] for run in runs), **ratios}


def show(rows: list[dict[str, Any]], overrides: list[str]) -> None:
    """Print the table."""
    table = Table(title=" ".join(["training cost of strategies", *overrides]))
    for column in ("strategy", "images/s", "train time", "peak memory"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for row in rows:
        ratios = (f"{row['seconds']:.2f}x", f"{row['memory']:.2f}x")
        table.add_row(str(row["strategy"]), f"{row['images_per_second']:,.0f}", *ratios)
    Console().print(table)
    print(f"written to {OUT}")
