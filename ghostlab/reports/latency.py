"""How long the deployed networks of an ablation take for one image, measured once each and kept in its folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostlab.errors import RunError
from ghostlab.files import write_text
from ghostlab.reports.results import metric
from ghostlab.reports.summary import Report, RunRecord
from ghostlab.runs.run import Run

__all__ = ["Latencies", "measure_latencies", "network_of", "read_latencies"]

FILE = "latency.json"
ROUNDS = 20
NOT_ARCHITECTURE = ("native", "pretrained", "checkpoint_path")
"""What a configuration says about a model besides: the sizes it was designed for, and where its weights are from."""


@dataclass(frozen=True)
class Latencies:
    """Milliseconds by deployed network: its architecture with all options, its classes and the size of its images."""

    networks: Mapping[str, Mapping[str, Any]]

    def of(self, run: RunRecord) -> float | None:
        """Median milliseconds of a finished run's network; None where it is not measured."""
        if not self.networks:
            return None
        value = self.networks.get(network_of(run) or "", {}).get("median_ms")
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def read_latencies(folder: Path) -> Latencies:
    """What has been measured in this folder; nothing for a file that is damaged."""
    try:
        read = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Latencies({})
    return Latencies({k: v for k, v in read.items() if isinstance(v, dict)} if isinstance(read, dict) else {})


def measure_latencies(report: Report) -> None:
    """Measure the deployed networks of a report's finished runs, taking turns on one CPU thread, and write the file.

    Raises ``RunError`` where no finished run has a checkpoint.
    """
    from ghostlab.benchmarks.deployables import Deployable, deployable  # imports torch
    from ghostlab.benchmarks.latency import processor
    from ghostlab.benchmarks.timing import Conditions, measure

    chosen = _one_of_each(run for section in report.sections for line in section.lines for run in line.runs)
    if not chosen:
        raise RunError(f"{report.folder}: no finished run here has a checkpoint to measure")
    contestants = [Deployable(name, deployable(str(run.folder)).prepare) for name, run in chosen.items()]
    device = f"{processor()}, 1 thread"
    networks = {
        row.name: {
            "median_ms": 1e3 * row.times[0].median,
            "device": device,
            "form": row.form,
            "image_size": row.image_size,
            "run": os.path.relpath(chosen[row.name].folder, report.folder),
        }
        for row in measure(contestants, Conditions((1,), threads=1, rounds=ROUNDS))
    }
    write_text(report.folder / FILE, json.dumps(networks, indent=2) + "\n")


def _one_of_each(runs: Iterable[RunRecord]) -> dict[str, RunRecord]:
    found: dict[str, RunRecord] = {}
    for run in runs:
        network = network_of(run)
        if network and Run(run.folder).last.is_file():
            found.setdefault(network, run)
    return found


def network_of(run: RunRecord) -> str | None:
    """The name of a finished run's deployed network: two that differ in anything have two. None without a
    configuration; drawn weights and how they were trained are no part of it, as strategies leave no trace when folded.
    """
    config = Run(run.folder).find_config() if run.state == "finished" else None
    if config is None:
        return None
    model, data = config["model"], config["data"]
    options = {key: value for key, value in model.items() if value is not None and key not in NOT_ARCHITECTURE}
    size = data.get("test_size") or data.get("image_size")
    counts = [metric(run, key) for key in ("params_deploy", "macs_deploy")]
    whole = json.dumps([options, data.get("num_classes"), size, counts], sort_keys=True, default=str)
    return f"{model['name']} at {size} px, {hashlib.sha256(whole.encode()).hexdigest()[:8]}"
