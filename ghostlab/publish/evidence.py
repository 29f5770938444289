"""What other commands have measured of a run: rows of a latency file, its row in an ablation, and its own command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ghostlab.errors import RunError, UsageError
from ghostlab.publish.facts import Ablation, Latency
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.shell import command

__all__ = ["ablation_row", "latencies", "run_command"]

ABSOLUTE = re.compile(r"^([\w.+]+=)'?(/[^']*)'?$")


def run_command(config: dict[str, Any]) -> str:
    """The command that trains ``config`` again; of absolute paths only the last part is told."""
    overrides = [*common_overrides({**config, "outputs": "outputs"}), *row_overrides(config), f"seed={config['seed']}"]
    return command("train.py", *map(_without_path, overrides))


def _without_path(override: str) -> str:
    found = ABSOLUTE.match(override)
    return f"{found[1]}{Path(found[2]).name}" if found else override


def latencies(file: Path, run: Path, result: Mapping[str, Any]) -> list[Latency]:
    """The rows of ``file``, as ``tools/benchmark.py latency`` writes it, about ``run`` or a network of the same size.

    Raises ``RunError`` for a file that is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [row for one in content["rows"] if _is_of(one, run, result) for row in _rows(one, content)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{file}: not what tools/benchmark.py latency wrote ({cause})") from error


def _is_of(row: Mapping[str, Any], run: Path, result: Mapping[str, Any]) -> bool:
    size = row["params"], row["macs"]
    same = size == (result["params_deploy"], result["macs_deploy"])
    return same or row["name"] == "/".join(run.resolve().parts[-4:])


def _rows(row: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[Latency]:
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


def ablation_row(folder: Path, result: Mapping[str, Any]) -> Ablation:
    """The row of the ablation in ``folder`` that has the configuration of ``result``; ``UsageError`` if none has it."""
    from ghostlab.reports.summarize import summarize

    for section in summarize(folder).sections:
        for line in section.lines:
            finished = [run for run in line.runs if run.state == "finished" and run.result is not None]
            hashes = {run.result["config_hash"] for run in finished if run.result}
            if result["config_hash"] not in hashes or line.top1 is None:
                continue
            effect = line.effect
            found = effect.difference if effect else None
            interval = (found.low, found.high) if found and found.low is not None and found.high is not None else None
            return Ablation(
                name=line.name,
                seeds=[run.seed for run in finished],
                top1=line.top1,
                top1_sd=line.top1_sd,
                reference=effect.reference if effect else None,
                difference=found.mean if found else None,
                interval=interval,
                verdict=effect.verdict if effect else None,
                method=section.method,
            )
    raise UsageError(f"--ablation {folder}: none of its rows is this run's (configuration {result['config_hash']})")
