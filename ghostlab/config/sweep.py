"""A sweep's runs: each one once, with the values of the strategies that it joins, and all checked before the first."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ghostlab.config.compose import compose
from ghostlab.config.identity import run_folder
from ghostlab.config.messages import exit_code, one_line
from ghostlab.errors import UsageError, nearest
from ghostlab.strategies.registry import STRATEGIES

__all__ = ["CheckSweep", "distinct", "jobs", "late", "split", "teach_sweeper"]

Job = tuple[str, ...]
KNOB = re.compile(r"strategy\.(\w+)\.[^=]*=")


_combinations = BasicSweeper.split_arguments


def split(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
    """The overrides of every job of a sweep, in batches of ``max_batch_size`` (None: one)."""
    [combinations] = _combinations(overrides, None)
    found = [list(job) for job in distinct(combinations)]
    size = max_batch_size or len(found)
    return [found[start : start + size] for start in range(0, len(found), size)]


def teach_sweeper() -> None:
    """Let Hydra's own sweeper run the jobs of ``split``: it takes no sweeper from outside of ``hydra_plugins``."""
    BasicSweeper.split_arguments = staticmethod(split)  # type: ignore[method-assign]


class CheckSweep(Callback):
    """Hydra callback: composes and checks every job of a sweep; exits with 2 and one line at the first mistake."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from ghostlab.training.settings import parse

        try:
            for job in jobs(config):
                parse(_composed(job))
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            # Hydra turns exceptions of callbacks into warnings; only leaving the program stops the sweep.
            print(one_line(error), file=sys.stderr)
            sys.exit(code)


def jobs(config: DictConfig) -> list[Job]:
    """The overrides of every job of a sweep; empty where the sweeper chooses them while it runs (Optuna's)."""
    sweeper = config.hydra.sweeper
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        return []
    texts = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    parsed = OverridesParser.create().parse_overrides(texts)
    return [tuple(job) for batch in split(parsed, None) for job in batch]


def distinct(combinations: Iterable[Iterable[str]]) -> list[Job]:
    """The different runs among combinations of overrides.

    The value of a strategy that a combination does not join is left out of it: with ``strategy=baseline,kd`` and
    ``strategy.kd.kind=soft,dkd`` there is one baseline. Raises ``UsageError`` for a value that no run uses.
    """
    every = [tuple(combination) for combination in combinations]
    relevant = [_relevant(combination) for combination in every]
    used = {override for job in relevant for override in job}
    for override in (override for combination in every for override in combination):
        if override not in used:
            name = KNOB.match(override)[1]  # type: ignore[index]
            hint = "" if name in STRATEGIES else nearest(name, STRATEGIES)
            raise UsageError(f"{override}: no run of this sweep joins '{name}'{hint}")
    runs: dict[Path, Job] = {}
    for job in relevant:
        runs.setdefault(run_folder(_composed(job)), job)
    return list(runs.values())


def late(argument: str) -> str:
    """A strategy's value on the command line of a sweep, so that Hydra sets it in the runs only.

    Otherwise it is set as well in the configuration that the runs start from, which may not have that strategy.
    """
    key, _, value = argument.partition("=")
    if not KNOB.match(argument) or OverridesParser.create().parse_override(argument).is_sweep_override():
        return argument
    # Hydra has no choice(null); of two runs that are the same one is made.
    return f"{key}=null,null" if value == "null" else f"{key}=choice({value})"


def _relevant(combination: Job) -> Job:
    """The combination without the values of strategies that it does not join."""
    knobs = {override: found[1] for override in combination if (found := KNOB.match(override))}
    joined = _composed(tuple(override for override in combination if override not in knobs)).strategy
    return tuple(override for override in combination if override not in knobs or knobs[override] in joined)


@cache
def _composed(job: Job) -> DictConfig:
    return compose(job)
