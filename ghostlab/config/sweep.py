"""A mistake in one run of a sweep is found before the first run starts."""

from __future__ import annotations

import sys
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from ghostlab.config.compose import compose
from ghostlab.config.messages import exit_code, one_line

__all__ = ["CheckSweep", "jobs"]


class CheckSweep(Callback):
    """Hydra callback: composes and checks every job of a sweep; exits with 2 and one line at the first mistake."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from ghostlab.training.settings import parse

        try:
            for overrides in jobs(config):
                parse(compose(overrides))
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            # Hydra turns exceptions of callbacks into warnings; only leaving the program stops the sweep.
            print(one_line(error), file=sys.stderr)
            sys.exit(code)


def jobs(config: DictConfig) -> list[list[str]]:
    """The overrides of every job of a sweep; empty where the sweeper chooses them while it runs (Optuna's)."""
    sweeper = config.hydra.sweeper
    basic = next(cls for cls in Plugins.instance().discover(Sweeper) if cls.__name__ == "BasicSweeper")
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        return []
    texts = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    parsed = OverridesParser.create().parse_overrides(texts)
    [batch] = basic.split_arguments(parsed, None)  # type: ignore[attr-defined]
    return batch
