"""The commands of the project, each in a process of its own, as a user would start them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from ghostlab.errors import RunError
from ghostlab.runs.run import Run

__all__ = ["run_ghostlab", "train_run"]


def run_ghostlab(name: str, *arguments: str) -> str:
    """What ``ghostlab <name>`` prints; ``RunError`` with its last line when it fails."""
    line = [sys.executable, "-m", "ghostlab", name, *arguments]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RunError(f"ghostlab {name} {' '.join(arguments)}: {lines[-1]}")
    return done.stdout


def train_run(*arguments: str) -> Run:
    """The run that ``ghostlab train`` with these arguments leaves behind."""
    printed = run_ghostlab("train", *arguments)
    return Run(Path(shlex.split(next(line for line in printed.splitlines() if line.startswith("next: ")))[-1]))
