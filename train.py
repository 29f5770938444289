"""Train one model with joined strategies, or a sweep of them: python train.py [-m] [key=value ...]"""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from ghostlab.cli.guard import guarded, hydra_command


def train(cfg: DictConfig) -> float:
    from ghostlab.runs.settings import parse
    from ghostlab.training.run import run

    return parse(cfg).objective.value(run(cfg))


if __name__ == "__main__":
    sys.exit(guarded(lambda: hydra_command(train, sys.argv[1:])))
