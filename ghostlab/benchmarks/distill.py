"""What distillation costs: plain training, a live teacher and a cached one, side by side."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ghostlab.benchmarks.commands import command, trained
from ghostlab.files import write_text
from ghostlab.quantities import mean_and_sd, ratio
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import tracked

__all__ = ["distill"]

OUT = Path("outputs/benchmarks/distill.json")
AIM = 1.05
"""Time of an epoch with a cached teacher, as a ratio to one without a teacher, that is to be kept."""
COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("way", align="left"),
    Column("images_per_second", "images/s", show="{:,.0f}".format),
    Column("ratio", "epoch time", show=ratio),
    Column("ratios", "from - to", show=lambda ratios: f"{min(ratios):.2f} - {max(ratios):.2f}"),
    Column("top1", "top-1", cell=lambda row: mean_and_sd(row["top1"], row["spread"])),
)
WAYS: dict[str, list[str]] = {
    "no teacher": ["strategy=baseline"],
    "live teacher": ["strategy=kd"],
    "cached teacher": ["strategy=kd", "strategy.kd.cache=true"],
}


def distill(repeats: int, overrides: list[str]) -> None:
    """Train without a teacher, with it and with its cached answers, for ``repeats`` seeds in turn; print the medians.

    Every run is a process of its own. The teacher is trained and its answers are cached before anything is measured,
    and how long the cache took is printed. Speed is that of the training part of an epoch, the median over all epochs
    but the first, data loading included; its ratio is to the run of the same seed without a teacher.
    """
    of_kd = [override for override in overrides if override.startswith("strategy.kd.")]
    common = [override for override in overrides if override not in of_kd]
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as outputs:
        everywhere = [*common, f"outputs={outputs}"]
        trained(*WAYS["live teacher"], *of_kd, *everywhere, "trainer.max_epochs=1")
        start = time.perf_counter()
        command("teacher-cache", "build", *WAYS["cached teacher"], *of_kd, *everywhere)
        build = time.perf_counter() - start
        for job in tracked(range(repeats * len(WAYS)), "benchmark"):
            seed, way = job // len(WAYS), list(WAYS)[job % len(WAYS)]
            knobs = of_kd if "strategy=kd" in WAYS[way] else []
            runs[way].append(measure([*WAYS[way], *knobs, *everywhere, f"seed={seed}"]))
    rows = [{"way": way, **summary(runs["no teacher"], measured)} for way, measured in runs.items()]
    content = {"overrides": overrides, "build_seconds": build, "rows": rows, "runs": runs}
    write_text(OUT, json.dumps(content, indent=2) + "\n")
    show(rows, build, overrides)


def measure(arguments: list[str]) -> dict[str, float]:
    """Seconds of an image and the final top-1 of one run."""
    run = trained(*arguments)
    rows = run.history()
    later = [1 / row["images_per_second"] for row in rows[1:] or rows]
    return {"seconds": statistics.median(later), "top1": (run.result() or {})["top1"]}


def summary(baseline: list[dict[str, float]], runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median speed and ratio of an epoch's time to that without a teacher, mean and standard deviation of top-1."""
    ratios = [run["seconds"] / base["seconds"] for run, base in zip(runs, baseline, strict=True)]
    top1 = [run["top1"] for run in runs]
    return {
        "images_per_second": statistics.median(1 / run["seconds"] for run in runs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "top1": statistics.mean(top1),
        "spread": statistics.stdev(top1) if len(top1) > 1 else 0.0,
    }


def show(rows: list[dict[str, Any]], build: float, overrides: list[str]) -> None:
    """Print the table and whether the aim is met."""
    Console().print(terminal_table(COLUMNS, rows, " ".join(["cost of an epoch", *overrides])))
    cached = rows[-1]["ratio"]
    verdict = "within" if cached <= AIM else "above"
    print(f"an epoch with a cached teacher costs {cached:.3f} of one without, {verdict} the aim of {AIM}")
    print(f"building the cache took {build:.0f} s; written to {OUT}")
