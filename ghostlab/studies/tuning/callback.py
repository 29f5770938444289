"""What ``conf/config.yaml`` names so that Hydra uses the sweepers of this project."""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

__all__ = ["UseOwnSweepers"]

OWN = {"BasicSweeper": "SweepSweeper", "OptunaSweeper": "StudySweeper"}


class UseOwnSweepers(Callback):
    """Hydra callback: puts this project's sweeper in the place of the one that was chosen, with its options."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        name = str(config.hydra.sweeper.get("_target_")).rpartition(".")[2]
        if name in OWN:
            config.hydra.sweeper._target_ = f"hydra_plugins.ghostlab_sweepers.{OWN[name]}"
