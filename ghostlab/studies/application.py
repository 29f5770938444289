"""A running Hydra application: what its sweepers need to compose runs and to have them trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from ghostlab.runs.compose import PACKAGE
from ghostlab.runs.config_checks import refuse_hydra_settings
from ghostlab.strategies.registry import pass_to_subprocesses

if TYPE_CHECKING:
    from ghostlab.runs.settings import Settings

__all__ = ["Application", "HydraTask", "Task", "job_config"]

Task = Callable[["Settings"], object]
"""What is done with each run of a command."""
Work = Callable[[DictConfig], object]
"""The same as Hydra calls it."""


@dataclass
class HydraTask:
    """What Hydra is to run.

    ``single`` is done in a run of its own and ``work`` with each job of a sweep. Errors are kept until Hydra has
    ended, as it would print more than their one line. ``command`` is the command line as it was typed.
    """

    single: Work
    work: Task
    command: str = ""
    errors: list[Exception] = field(default_factory=list)

    def __call__(self, cfg: DictConfig) -> None:
        with self.errors_kept():
            self.single(cfg)

    @contextmanager
    def errors_kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.errors.append(error)


class Application:
    """The context that Hydra gives to a sweeper."""

    def __init__(self, context: HydraContext, task: Any, config: DictConfig) -> None:
        self.context, self.task, self.config = context, task, config
        self.errors_kept = task.errors_kept

    def prepare(self) -> None:
        """Settle what all runs share; raises ``UsageError`` for settings of Hydra that have no effect here."""
        refuse_hydra_settings(self.config.hydra)
        folder = "."
        with job_config(self.config.copy()), suppress(OmegaConfBaseException):
            # What is resolved once, such as ${now:...}, is the same in all runs.
            OmegaConf.to_container(self.config, resolve=True)
            folder = str(self.config.outputs)
        with read_write(self.config.hydra):
            self.config.hydra.sweep.dir = folder  # launchers resolve it outside of any job

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a run with its node ``hydra``, exactly as the launcher will compose it."""
        return self.context.config_loader.load_sweep_config(self.config, list(overrides))

    def launcher(self, work: Work) -> Launcher:
        """The launcher that was chosen; the processes that it starts import the same code and plug-ins as this one."""
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(PACKAGE.parent), *filter(None, paths)]))
        pass_to_subprocesses()
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=work, config=self.config
        )


@contextmanager
def job_config(cfg: DictConfig) -> Iterator[None]:
    """Let ``${hydra:...}`` mean what it will mean in the job of this configuration."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(cfg)
    try:
        yield
    finally:
        hydra.cfg = before
