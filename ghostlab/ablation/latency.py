"""How long the deployed networks of an ablation take for one image, measured once each and kept in its folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostlab.ablation.results import figure
from ghostlab.ablation.summary import Report, Run
from ghostlab.errors import RunError
from ghostlab.files import write_text

__all__ = ["Latencies", "measure_latencies", "read_latencies"]

FILE = "latency.json"
ROUNDS = 20


@dataclass(frozen=True)
class Latencies:
    """Milliseconds by deployed network; networks with as many parameters and MACs count as the same."""

    networks: Mapping[str, Mapping[str, Any]]

    def of(self, run: Run) -> float | None:
        """Median milliseconds of a finished run's network; None where it is not measured."""
        value = self.networks.get(_network(run) or "", {}).get("median_ms")
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


def _one_of_each(runs: Iterable[Run]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for run in runs:
        network = _network(run)
        if network and (run.folder / "checkpoints" / "last.ckpt").is_file():
            found.setdefault(network, run)
    return found


def _network(run: Run) -> str | None:
    counts = [figure(run, key) for key in ("params_deploy", "macs_deploy")]
    return None if None in counts else ",".join(f"{count:.0f}" for count in counts)
