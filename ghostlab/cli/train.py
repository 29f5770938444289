"""Train one model with joined strategies, or a sweep of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostlab.cli.guard import guarded, hydra_command

if TYPE_CHECKING:
    from ghostlab.runs.settings import Settings

__all__ = ["main"]


def train(settings: Settings) -> float:
    """One run, and what it is worth by its objective."""
    from ghostlab.training.run import train

    return settings.objective.value(train(settings))


def main(arguments: list[str], prog: str = "train.py") -> int:
    """Compose, and train; the exit code."""
    return guarded(lambda: hydra_command(train, arguments))
