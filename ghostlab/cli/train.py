"""Train one model with joined strategies, or a sweep of them."""

from __future__ import annotations

from omegaconf import DictConfig

from ghostlab.cli.guard import guarded, hydra_command

__all__ = ["main"]


def train(cfg: DictConfig) -> float:
    """One run, and what it is worth by its objective."""
    from ghostlab.runs.settings import parse
    from ghostlab.training.run import run

    return parse(cfg).objective.value(run(cfg))


def main(arguments: list[str], prog: str = "train.py") -> int:
    """Compose, and train; the exit code."""
    return guarded(lambda: hydra_command(train, arguments))
