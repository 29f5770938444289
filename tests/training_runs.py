"""Runs that tests train to do something with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ghostlab.runs import compose
from ghostlab.training.run import run

__all__ = ["trained_run"]


def trained_run(outputs: Path, overrides: Sequence[str]) -> Path:
    """The folder of a run that is trained now, below an empty folder."""
    run(compose([*overrides, f"outputs={outputs}"]))
    [result] = outputs.rglob("result.json")
    return result.parent
