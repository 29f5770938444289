"""Optuna's sweeper for Hydra with what this project knows about its runs."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import DictConfig, read_write

from ghostlab.config.identity import run_folder
from ghostlab.config.sweep import composed, relevant
from ghostlab.errors import RunError, UsageError
from ghostlab.training.processes import refuse_several_processes
from ghostlab.training.report import say
from ghostlab.training.settings import parse
from ghostlab.tuning.space import ends, space

__all__ = ["Study"]

RESULTS = "optimization_results.yaml"


class Study(OptunaSweeperImpl):
    """Checks the ends of all ranges before the first trial, gives every trial the values of the strategies that it
    joins only, and says at the end which one was best.

    ``optimization_results.yaml`` is written to ``<outputs>/studies/<name of the study>-<hash of its overrides>/``. A
    trial that fails is one without a value, up to ``hydra.sweeper.max_failure_rate``; raises ``UsageError`` for what a
    trial cannot be made of, and ``RunError`` when none had a value.
    """

    def setup(self, *, config: DictConfig, **context: Any) -> None:
        super().setup(config=config, **context)
        assert self.launcher is not None
        self.composed = config
        if isinstance(self.sampler, DictConfig):  # Hydra 1.4 leaves it to the sweeper
            self.sampler = instantiate(self.sampler)
        self.trials = Trials(self.launcher)
        self.launcher = self.trials

    def sweep(self, arguments: list[str]) -> None:
        self._check_options()
        overrides = space([f"{key!s}={value}" for key, value in (self.params or {}).items()], arguments)
        for trial in ends(overrides):
            refuse_several_processes(parse(composed(trial)).trainer)
        self.params = None  # they are among the overrides
        self._keep_results_in(self._folder(overrides))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            super().sweep(overrides)
        except ValueError as error:
            if self.trials.finished or isinstance(error, UsageError):
                raise
            raise RunError(f"none of the {self.trials.count} trials of this study has a value") from error
        self._say_best()

    def _check_options(self) -> None:
        if (directions := self._get_directions()) != ["maximize"]:
            raise UsageError(
                f"hydra.sweeper.direction={' '.join(directions)}: top-1 and the trade-off are better when larger;"
                " use hydra.sweeper.direction=maximize, as experiment=tune does"
            )
        if self.storage is not None:
            raise UsageError(
                f"hydra.sweeper.storage={self.storage}: must be null; the same command goes on with a study, as it"
                " makes the same trials again and finished runs are not repeated"
            )

    def _folder(self, overrides: Sequence[str]) -> Path:
        digits = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
        return Path(self.composed.outputs) / "studies" / f"{self.study_name or 'study'}-{digits}"

    def _keep_results_in(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with read_write(self.composed.hydra):
            self.composed.hydra.sweep.dir = str(folder)

    def _say_best(self) -> None:
        best = max(self.trials.finished, key=lambda trial: trial.value)
        failed = self.trials.count - len(self.trials.finished)
        say(
            f"best of {self.trials.count} trials{f', of which {failed} failed' if failed else ''}:"
            f" {best.cfg.objective.metric} {best.value:.2f}   {run_folder(best.cfg)}"
        )
        say(f"once more: python train.py {shlex.join(best.overrides)}")
        say(f"written to {Path(self.composed.hydra.sweep.dir) / RESULTS}")


@dataclass(frozen=True)
class Trial:
    """A trial with its value."""

    value: float
    overrides: Sequence[str]
    cfg: DictConfig


class Trials(Launcher):
    """The launcher of a study, which hands trials on to the one that was chosen, and keeps what comes back."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.finished: list[Trial] = []
        self.count = 0

    def setup(self, **context: Any) -> None:
        self.launcher.setup(**context)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Raises ``UsageError`` for a trial that cannot be one: others would fail of the same."""
        trials = [relevant([_null(override) for override in overrides]) for overrides in job_overrides]
        returned = self.launcher.launch(trials, initial_job_idx)
        self.count += len(returned)
        for one, overrides in zip(returned, trials, strict=True):
            if one.status == JobStatus.FAILED and isinstance(one._return_value, UsageError):
                raise one._return_value
            if one.status == JobStatus.COMPLETED and one.return_value is not None and one.cfg is not None:
                self.finished.append(Trial(float(one.return_value), overrides, one.cfg))
        return returned


def _null(override: str) -> str:
    """Optuna writes a choice of null as Python does."""
    return f"{override.removesuffix('None')}null" if override.endswith("=None") else override
