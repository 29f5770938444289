"""What is known of a published run, as plain values: its own files, and what other commands have measured of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostlab.errors import RunError, UsageError
from ghostlab.models import Counts
from ghostlab.reports.summarize import summarize
from ghostlab.reports.summary import Section
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.shell import command

__all__ = ["LICENCES", "Check", "Facts", "Latency", "find_ablation", "read_latencies", "run_command"]

LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "isc"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("openrail", "unlicense", "other"),
)
"""Licences by the names that the hub has for them; "other" for one that it has no name for."""
ABSOLUTE = re.compile(r"^([\w.+]+=)'?(/[^']*)'?$")


@dataclass(frozen=True)
class Check:
    """The published network against the run's: the largest difference of an output, relative to the largest output,
    and the top-1 of both in percent on the validation images, where these are there."""

    difference: float
    top1: tuple[float, float] | None


@dataclass(frozen=True)
class Latency:
    """A measured row: milliseconds for a batch of ``batch`` images of ``image_size`` pixels, and where."""

    name: str
    runtime: str
    threads: int
    batch: int
    image_size: int
    median_ms: float
    p95_ms: float
    processor: str


@dataclass(frozen=True)
class Facts:
    """All that a card says."""

    name: str
    architecture: str
    own: bool
    """Whether ``import ghostlab.models`` has to come first."""
    licence: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    command: str
    counts: Counts
    """Of the published network, with its batch norms."""
    images: tuple[int, int] | None
    """Numbers of training and validation images, where these are there."""
    check: Check
    latencies: Sequence[Latency]
    ablation: Section | None
    """The table that it has a row in, with this row alone."""

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.preprocessing["input_size"][-1])


def run_command(config: dict[str, Any]) -> str:
    """The command that trains ``config`` again; of absolute paths only the last part is told."""
    overrides = [*common_overrides({**config, "outputs": "outputs"}), *row_overrides(config), f"seed={config['seed']}"]
    return command("train.py", *map(_without_path, overrides))


def _without_path(override: str) -> str:
    found = ABSOLUTE.match(override)
    return f"{found[1]}{Path(found[2]).name}" if found else override


def read_latencies(file: Path, run: Path, result: Mapping[str, Any]) -> list[Latency]:
    """The rows of ``file``, as ``tools/benchmark.py latency`` writes it, about ``run`` or a network of the same size.

    Raises ``RunError`` for a file that is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [row for one in content["rows"] if _is_about(one, run, result) for row in _latency_rows(one, content)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{file}: not what tools/benchmark.py latency wrote ({cause})") from error


def _is_about(row: Mapping[str, Any], run: Path, result: Mapping[str, Any]) -> bool:
    size = row["params"], row["macs"]
    same = size == (result["params_deploy"], result["macs_deploy"])
    return same or row["name"] == "/".join(run.resolve().parts[-4:])


def _latency_rows(row: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[Latency]:
    threads = row.get("threads", content["conditions"]["threads"])
    for times in row["times"]:
        yield Latency(
            name=str(row["name"]),
            runtime=str(row.get("runtime", "eager")),
            threads=int(threads),
            batch=int(times["batch"]),
            image_size=int(row["image_size"]),
            median_ms=1e3 * float(times["median"]),
            p95_ms=1e3 * float(times["p95"]),
            processor=str(content["processor"]),
        )


def find_ablation(folder: Path, result: Mapping[str, Any]) -> Section:
    """The table in ``folder`` that has a row of this configuration, with that alone; ``UsageError`` if none has."""
    for section in summarize(folder).sections:
        for line in section.lines:
            hashes = {run.result["config_hash"] for run in line.runs if run.state == "finished" and run.result}
            if result["config_hash"] in hashes and line.top1 is not None:
                reference = line.effect.reference if line.effect else section.reference
                return replace(section, lines=[line], reference=reference)
    raise UsageError(f"--ablation {folder}: none of its rows is this run's (configuration {result['config_hash']})")
