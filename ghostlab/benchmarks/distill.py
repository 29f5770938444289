"""What distillation costs: plain training, a live teacher and a cached one, side by side."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ghostlab.benchmarks.commands import run_ghostlab, train_run
from ghostlab.files import write_text
from ghostlab.quantities import mean_and_sd, ratio
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import tracked

__all__ = ["distill"]

DISTILL_FILE = Path("outputs/benchmarks/distill.json")
RATIO_AIMED_AT = 1.05
"""Time of an epoch with a cached teacher, as a ratio to one without a teacher, that is to be kept."""
COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("way", align="left"),
    Column("images_per_second", "images/s", show="{:,.0f}".format),
    Column("ratio", "epoch time", show=ratio),
    Column("ratios", "from - to", show=lambda ratios: f"{min(ratios):.2f} - {max(ratios):.2f}"),
    Column("top1", "top-1", cell=lambda row: mean_and_sd(row["top1"], row["spread"])),
)
VARIANTS: dict[str, list[str]] = {
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
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in VARIANTS}
    with tempfile.TemporaryDirectory() as outputs:
        everywhere = [*common, f"outputs={outputs}"]
        train_run(*VARIANTS["live teacher"], *of_kd, *everywhere, "trainer.max_epochs=1")
        start = time.perf_counter()
        run_ghostlab("teacher-cache", "build", *VARIANTS["cached teacher"], *of_kd, *everywhere)
        build = time.perf_counter() - start
        for job in tracked(range(repeats * len(VARIANTS)), "benchmark"):
            seed, way = job // len(VARIANTS), list(VARIANTS)[job % len(VARIANTS)]
            knobs = of_kd if "strategy=kd" in VARIANTS[way] else []
            runs[way].append(measure_variant([*VARIANTS[way], *knobs, *everywhere, f"seed={seed}"]))
    rows = [{"way": way, **summarize_variant(runs["no teacher"], measured)} for way, measured in runs.items()]
    content = {"overrides": overrides, "build_seconds": build, "rows": rows, "runs": runs}
    write_text(DISTILL_FILE, json.dumps(content, indent=2) + "\n")
    print_results(rows, build, overrides)


def measure_variant(arguments: list[str]) -> dict[str, float]:
    """Seconds of an image and the final top-1 of one run."""
    run = train_run(*arguments)
    rows = run.history()
    later = [1 / row["images_per_second"] for row in rows[1:] or rows]
    return {"seconds": statistics.median(later), "top1": (run.result() or {})["top1"]}


def summarize_variant(baseline: list[dict[str, float]], runs: list[dict[str, float]]) -> dict[str, Any]:
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


def print_results(rows: list[dict[str, Any]], build: float, overrides: list[str]) -> None:
    """Print the table and whether the aim is met."""
    Console().print(terminal_table(COLUMNS, rows, " ".join(["cost of an epoch", *overrides])))
    cached = rows[-1]["ratio"]
    verdict = "within" if cached <= RATIO_AIMED_AT else "above"
    print(f"an epoch with a cached teacher costs {cached:.3f} of one without, {verdict} the aim of {RATIO_AIMED_AT}")
    print(f"building the cache took {build:.0f} s; written to {DISTILL_FILE}")
