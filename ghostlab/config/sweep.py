"""A sweep's runs: each one once, with the values of the strategies that it joins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict

from ghostlab.config.compose import compose
from ghostlab.config.identity import run_folder
from ghostlab.errors import UsageError, nearest
from ghostlab.strategies.registry import STRATEGIES

__all__ = ["Job", "apart", "choices", "composed", "distinct", "is_knob", "late", "refuse_unused", "relevant"]

_split = BasicSweeper.split_arguments  # as it is in Hydra; the sweep puts its own in its place
KNOB = re.compile(r"strategy\.(\w+)\.[^=]*=")
SEED = re.compile(r"seed=(\d+)")


class Job(NamedTuple):
    """A run of a sweep: what it overrides, and the configuration and folder that this makes."""

    overrides: tuple[str, ...]
    cfg: DictConfig
    folder: Path


def choices(overrides: Iterable[Override]) -> dict[str, list[str]]:
    """What a sweep says about each key: its values, each as one override; what is given last counts."""
    return {one.get_key_element(): [job[0] for job in _split([one], None)[0]] for one in overrides}


def distinct(given: Mapping[str, Sequence[str]]) -> list[Job]:
    """The different runs among all combinations of the choices.

    The value of a strategy that a combination does not join is left out of it: with ``strategy=baseline,kd`` and
    ``strategy.kd.kind=soft,dkd`` there is one baseline. Raises ``UsageError`` for a value that no run uses.
    """
    every = [relevant(combination) for combination in product(*given.values())]
    refuse_unused([value for values in given.values() for value in values], every)
    runs: dict[Path, Job] = {}
    for overrides in every:
        cfg = composed(overrides)
        folder = run_folder(cfg)
        runs.setdefault(folder, Job(overrides, cfg, folder))
    return list(runs.values())


def refuse_unused(given: Iterable[str], every: Iterable[Sequence[str]]) -> None:
    """Raise ``UsageError`` for the value of a strategy that is in none of the runs."""
    used = {override for overrides in every for override in overrides}
    for override in (one for one in given if one not in used):
        name = KNOB.match(override)[1]  # type: ignore[index]
        hint = "" if name in STRATEGIES else nearest(name, STRATEGIES)
        raise UsageError(f"{override}: no run of this sweep joins '{name}'{hint}")


def relevant(combination: Sequence[str]) -> tuple[str, ...]:
    """The combination without the values of strategies that it does not join."""
    knobs = {override: found[1] for override in combination if (found := KNOB.match(override))}
    joined = composed(tuple(override for override in combination if override not in knobs)).strategy
    return tuple(override for override in combination if override not in knobs or knobs[override] in joined)


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run; one that differs in nothing but the seed is not composed again."""
    seeds = [found[1] for override in overrides if (found := SEED.fullmatch(override))]
    cfg, _ = apart(_composed(tuple(override for override in overrides if not SEED.fullmatch(override))))
    if seeds:
        cfg.seed = int(seeds[-1])
    return cfg


def apart(cfg: DictConfig) -> tuple[DictConfig, DictConfig | None]:
    """The configuration of a run, and that of the ablation to which it may belong, which is no part of it."""
    own = cfg.copy()
    with open_dict(own):
        ablation = own.pop("ablation", None)
    return own, ablation if ablation and ablation.get("design") else None


def is_knob(override: str) -> bool:
    """Whether it sets a value of one strategy."""
    return bool(KNOB.match(override))


def late(argument: str) -> str:
    """A strategy's value on the command line of a sweep, so that Hydra sets it in the runs only.

    Otherwise it is set as well in the configuration that the runs start from, which may not have that strategy.
    """
    key, _, value = argument.partition("=")
    if not is_knob(argument) or OverridesParser.create().parse_override(argument).is_sweep_override():
        return argument
    # Hydra has no choice(null); of two runs that are the same one is made.
    return f"{key}=null,null" if value == "null" else f"{key}=choice({value})"


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    return compose(overrides)
