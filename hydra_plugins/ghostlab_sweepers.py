"""The sweepers of this project, where Hydra looks for them: it takes none from outside of ``hydra_plugins``.

Hydra imports this file whenever it starts, so what the sweepers are made of is imported when one is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["StudySweeper", "SweepSweeper", "UseOwnSweepers"]

REPLACED = {"BasicSweeper": "SweepSweeper", "OptunaSweeper": "StudySweeper"}
"""Sweepers of Hydra's and the plug-in's that have one here in their place."""


class SweepSweeper(Sweeper):
    """Every combination of the choices, planned and checked before the first run: ``ghostlab.studies.sweep``."""

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        self.max_batch_size = max_batch_size
        self.params: Mapping[str, str] = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context = (hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from ghostlab.studies.jobs import Application
        from ghostlab.studies.sweep import Sweep

        params = [f"{key}={value}" for key, value in self.params.items()]
        application = Application(*self.context)
        with application.errors_kept():
            Sweep(application).run([*params, *arguments], self.max_batch_size)


class StudySweeper(Sweeper):
    """Trials that Optuna chooses one after the other: ``ghostlab.studies.tuning.study``."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context = (hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from ghostlab.studies.jobs import Application
        from ghostlab.studies.tuning.study import Study

        application = Application(*self.context)
        with application.errors_kept():
            Study(application, self.options).run(arguments)


class UseOwnSweepers(Callback):
    """Hydra callback: puts this project's sweeper in the place of the one that was chosen, with its options."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        name = str(config.hydra.sweeper.get("_target_")).rpartition(".")[2]
        if name in REPLACED:
            config.hydra.sweeper._target_ = f"hydra_plugins.ghostlab_sweepers.{REPLACED[name]}"
