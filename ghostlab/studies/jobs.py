"""A sweep's runs in a Hydra application: each one once, with the values of the strategies that it joins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ghostlab.errors import UsageError, nearest
from ghostlab.runs.compose import PACKAGE, compose
from ghostlab.runs.config_checks import check_keys, refuse_hydra_settings, refuse_unknown_beforehand
from ghostlab.runs.identity import run_folder
from ghostlab.strategies.registry import STRATEGIES, pass_to_subprocesses

if TYPE_CHECKING:
    from ghostlab.runs.settings import Settings

__all__ = [
    "Application",
    "Composer",
    "HydraTask",
    "Job",
    "Task",
    "defer_knob",
    "is_knob",
    "job_config",
    "not_joined",
    "refuse_unused",
    "split_ablation",
    "sweep_choices",
]

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


KNOB = re.compile(r"strategy\.(\w+)\.[^=]*=")
SEED = re.compile(r"seed=(\d+)")


class Job(NamedTuple):
    """A run of a sweep: what it overrides, and the configuration and folder that this makes."""

    overrides: tuple[str, ...]
    cfg: DictConfig
    folder: Path


def sweep_choices(overrides: Iterable[Override]) -> dict[str, list[str]]:
    """What a sweep says about each key: its values, each as one override; what is given last counts."""
    return {one.get_key_element(): list(_each(one)) for one in overrides}


def _each(one: Override) -> Iterator[str]:
    key = one.get_key_element()
    if one.is_interval_sweep():
        raise UsageError(
            f"{one.input_line}: an interval is for a study, hydra/sweeper=optuna; a sweep takes values with commas"
            " between them, choice(...), range(...) or glob(...)"
        )
    if one.is_discrete_sweep():
        yield from (f"{key}={value}" for value in one.sweep_string_iterator())
    else:
        yield f"{key}={one.get_value_element_as_str()}"


class Composer:
    """Composes runs from their overrides, with ``load`` as a launcher will: the result may have a node ``hydra``."""

    def __init__(self, load: Callable[[Sequence[str]], DictConfig] = compose) -> None:
        self._load = cache(load)

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The resolved configuration of a run; one that differs in nothing but the seed is not composed again.

        Raises ``UsageError`` for one that no run can have.
        """
        seeds = [int(found[1]) for override in overrides if (found := SEED.fullmatch(override))]
        loaded = self._load(tuple(override for override in overrides if not SEED.fullmatch(override)))
        if seeds and "${hydra:" in OmegaConf.to_yaml(loaded):
            loaded, seeds = self._load(tuple(overrides)), []
        own, _ = split_ablation(loaded)
        if seeds:
            own.seed = seeds[-1]
        with job_config(loaded) if "hydra" in loaded else nullcontext():
            refuse_unknown_beforehand(own)
            check_keys(own)
            if not OmegaConf.missing_keys(own):
                OmegaConf.resolve(own)
        return own

    def relevant(self, combination: Sequence[str]) -> tuple[str, ...]:
        """The combination without the values of strategies that it does not join."""
        knobs = {override: found[1] for override in combination if (found := KNOB.match(override))}
        joined = self(tuple(override for override in combination if override not in knobs)).strategy
        return tuple(override for override in combination if override not in knobs or knobs[override] in joined)

    def distinct(self, given: Mapping[str, Sequence[str]]) -> list[Job]:
        """The different runs among all combinations of the choices.

        The value of a strategy that a combination does not join is left out of it: with ``strategy=baseline,kd`` and
        ``strategy.kd.kind=soft,dkd`` there is one baseline. Raises ``UsageError`` for a value that no run uses.
        """
        every = [self.relevant(combination) for combination in product(*given.values())]
        refuse_unused([value for values in given.values() for value in values], every)
        runs: dict[Path, Job] = {}
        for overrides in every:
            cfg = self(overrides)
            folder = run_folder(cfg)
            runs.setdefault(folder, Job(overrides, cfg, folder))
        return list(runs.values())


def refuse_unused(given: Iterable[str], every: Iterable[Sequence[str]]) -> None:
    """Raise ``UsageError`` for the value of a strategy that is in none of the runs."""
    used = {override for overrides in every for override in overrides}
    for override in (one for one in given if one not in used):
        raise not_joined(override, "run of this sweep")


def not_joined(override: str, what: str) -> UsageError:
    """The error for the value of a strategy that no ``what`` joins."""
    name = KNOB.match(override)[1]  # type: ignore[index]
    hint = "" if name in STRATEGIES else nearest(name, STRATEGIES)
    return UsageError(f"{override}: no {what} joins '{name}'{hint}")


def split_ablation(cfg: DictConfig) -> tuple[DictConfig, DictConfig | None]:
    """The configuration of a run, and that of the ablation to which it may belong, which is no part of it."""
    own = cfg.copy()
    with open_dict(own):
        own.pop("hydra", None)
        ablation = own.pop("ablation", None)
    return own, ablation if ablation and ablation.get("design") else None


def is_knob(override: str) -> bool:
    """Whether it sets a value of one strategy."""
    return bool(KNOB.match(override))


def defer_knob(argument: str) -> str:
    """A strategy's value on the command line of a sweep, so that Hydra sets it in the runs only.

    Otherwise it is set as well in the configuration that the runs start from, which may not have that strategy.
    """
    key, _, value = argument.partition("=")
    if not is_knob(argument) or OverridesParser.create().parse_override(argument).is_sweep_override():
        return argument
    # Hydra has no choice(null); of two runs that are the same one is made.
    return f"{key}=null,null" if value == "null" else f"{key}=choice({value})"
