"""Optuna's sweeper for Hydra with what this project knows about its runs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from omegaconf import DictConfig, read_write

from ghostlab.errors import RunError, UsageError
from ghostlab.runs.identity import run_folder
from ghostlab.runs.processes import refuse_several_processes
from ghostlab.runs.settings import parse
from ghostlab.shell import command
from ghostlab.studies.jobs import Application, Composer
from ghostlab.studies.tuning.space import end_trials, search_space
from ghostlab.studies.worker import Progress, run_job
from ghostlab.terminal import say

__all__ = ["Study"]

RESULTS = "optimization_results.yaml"


class Study:
    """Checks the ends of all ranges before the first trial, gives every trial the values of the strategies that it
    joins only, and says at the end which one was best; ``options`` are those of ``hydra.sweeper``.

    ``optimization_results.yaml`` is written to ``<outputs>/studies/<name of the study>-<hash of its overrides>/``. A
    trial that fails is one without a value, up to ``hydra.sweeper.max_failure_rate``; raises ``UsageError`` for what a
    trial cannot be made of, and ``RunError`` when none had a value.
    """

    def __init__(self, application: Application, options: Mapping[str, Any]) -> None:
        self.application, self.options = application, dict(options)
        self.composer = Composer(application.load)
        self.config = application.config
        if isinstance(self.options["sampler"], DictConfig):  # Hydra 1.4 leaves it to the sweeper
            self.options["sampler"] = instantiate(self.options["sampler"])

    def run(self, arguments: Sequence[str]) -> None:
        self.application.prepare()
        self._check_options()
        params = self.options.pop("params", None) or {}
        overrides = search_space([f"{key!s}={value}" for key, value in params.items()], arguments, self.composer)
        for trial in end_trials(overrides, self.composer):
            refuse_several_processes(parse(self.composer(trial)).trainer)
        self._make_folder(overrides)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._search(overrides)
        self._say_best()

    def _search(self, overrides: list[str]) -> None:
        application = self.application
        sweeper = OptunaSweeper(**self.options, params=None)  # the params are among the overrides
        job = partial(run_job, application.task.work, progress=Progress())
        sweeper.setup(hydra_context=application.context, task_function=job, config=self.config)
        self.trials = sweeper.sweeper.launcher = Trials(application.launcher(job), self.composer)
        try:
            sweeper.sweep(overrides)
        except ValueError as error:
            if self.trials.finished or isinstance(error, UsageError):
                raise
            raise RunError(f"none of the {self.trials.count} trials of this study has a value") from error

    def _check_options(self) -> None:
        if (direction := _name(self.options["direction"])) != "maximize":
            raise UsageError(
                f"hydra.sweeper.direction={direction}: top-1 and the trade-off are better when larger;"
                " use hydra.sweeper.direction=maximize, as experiment=tune does"
            )
        if (storage := self.options["storage"]) is not None:
            raise UsageError(
                f"hydra.sweeper.storage={storage}: must be null; the same command goes on with a study, as it"
                " makes the same trials again and finished runs are not repeated"
            )

    def _make_folder(self, overrides: Sequence[str]) -> None:
        digits = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
        folder = Path(self.config.outputs) / "studies" / f"{self.options['study_name'] or 'study'}-{digits}"
        folder.mkdir(parents=True, exist_ok=True)
        with read_write(self.config.hydra):
            self.config.hydra.sweep.dir = str(folder)

    def _say_best(self) -> None:
        best = max(self.trials.finished, key=lambda trial: trial.value)
        failed = self.trials.count - len(self.trials.finished)
        say(
            f"best of {self.trials.count} trials{f', of which {failed} failed' if failed else ''}:"
            f" {best.cfg.objective.metric} {best.value:.2f}   {run_folder(best.cfg)}"
        )
        say(f"once more: {command('train.py', *best.overrides)}")
        say(f"written to {Path(self.config.hydra.sweep.dir) / RESULTS}")


@dataclass(frozen=True)
class Trial:
    """A trial with its value."""

    value: float
    overrides: Sequence[str]
    cfg: DictConfig


class Trials(Launcher):
    """The launcher of a study, which hands trials on to the one that was chosen, and keeps what comes back."""

    def __init__(self, launcher: Launcher, composer: Composer) -> None:
        self.launcher, self.composer = launcher, composer
        self.finished: list[Trial] = []
        self.count = 0

    def setup(self, **context: Any) -> None:
        self.launcher.setup(**context)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Raises ``UsageError`` for a trial that cannot be one: others would fail of the same."""
        trials = [self.composer.relevant([_null(override) for override in overrides]) for overrides in job_overrides]
        returned = self.launcher.launch(trials, initial_job_idx)
        self.count += len(returned)
        for one, overrides in zip(returned, trials, strict=True):
            if one.status == JobStatus.FAILED:
                _raise_usage_error(one)
            if one.status == JobStatus.COMPLETED and one.return_value is not None and one.cfg is not None:
                self.finished.append(Trial(float(one.return_value), overrides, one.cfg))
        return returned


def _raise_usage_error(failed: JobReturn) -> None:
    try:
        with redirect_stderr(io.StringIO()):  # Hydra prints a line of its own
            _ = failed.return_value
    except UsageError:
        raise
    except Exception:
        return


def _name(direction: Any) -> str:
    """One direction or several of them, each a name or an enumeration's member."""
    listed = direction if isinstance(direction, Sequence) and not isinstance(direction, str) else [direction]
    return " ".join(getattr(one, "name", str(one)) for one in listed)


def _null(override: str) -> str:
    """Optuna writes a choice of null as Python does."""
    return f"{override.removesuffix('None')}null" if override.endswith("=None") else override
