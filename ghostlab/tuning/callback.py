"""What ``conf/config.yaml`` names so that ``hydra/sweeper=optuna`` makes a study of this project."""

from __future__ import annotations

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

__all__ = ["UseStudy"]


class UseStudy(Callback):
    """Hydra callback: puts ``Study`` in the place of Optuna's sweeper, where that is chosen.

    Hydra takes no sweeper from outside of ``hydra_plugins``, and Optuna need not be installed for anything else.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if str(config.hydra.sweeper._target_).endswith(".OptunaSweeper"):
            from hydra_plugins.hydra_optuna_sweeper import _impl

            from ghostlab.tuning.study import Study

            _impl.OptunaSweeperImpl = Study  # type: ignore[misc]
