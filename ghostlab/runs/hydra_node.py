"""Hydra's own settings that have no effect here, wherever they come from: where runs are kept is ``outputs``."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import reduce
from operator import getitem
from typing import Any, get_type_hints

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from ghostlab.errors import UsageError, unknown
from ghostlab.shell import command

__all__ = ["refuse_hydra_key", "refuse_hydra_settings", "refuse_sweep_settings", "refuse_unknown_beforehand"]

OURS = {
    "hydra.run.dir": ".",
    "hydra.sweep.dir": "${outputs}",
    "hydra.sweep.subdir": ".",
    "hydra.job.chdir": None,
    "hydra.output_subdir": None,
}
BEFOREHAND = re.compile(r"\$\{hydra:(job\.(num|id)|runtime\.output_dir)\}")
FOLDER = "a run's folder is <outputs>/<data>/<model>/<strategy>/seed<seed>; use outputs=<folder>"
WHY = {
    "hydra.job.chdir": "runs stay where they are started, so that the paths they print lead somewhere from there",
    "hydra.output_subdir": "the config.yaml in a run's folder says what it was made of",
}


def refuse_hydra_key(key: str, value: object, line: str) -> None:
    """Raise ``UsageError`` for an override ``line`` that sets what Hydra does not know or what has no effect here."""
    _require_known(key, line)
    for name, ours in OURS.items():
        if key == name and value not in (ours, *_harmless(name)):
            raise UsageError(f"{line}: {WHY.get(name, FOLDER)}")


def refuse_hydra_settings(hydra: Any) -> None:
    """The same for the composed ``hydra`` node, whose values may come from a file; raises ``UsageError``."""
    written: Any = OmegaConf.to_container(hydra, resolve=False)
    for name, ours in OURS.items():
        value = reduce(getitem, name.split(".")[1:], written)
        if value not in (ours, *_harmless(name)):
            raise UsageError(f"{name}={value}: {WHY.get(name, FOLDER)}")


def refuse_unknown_beforehand(cfg: DictConfig) -> None:
    """Raise ``UsageError`` where a value depends on what Hydra knows only once a run has begun."""
    if found := BEFOREHAND.search(OmegaConf.to_yaml(cfg)):
        raise UsageError(f"{found[0]}: is not known before a run begins, and a run's folder depends on all its values")


def refuse_sweep_settings(hydra: Any) -> None:
    """Raise ``UsageError`` where a single run is given what only a sweep can use."""
    for part, plain in (("launcher", "BasicLauncher"), ("sweeper", "BasicSweeper")):
        name = str(hydra[part].get("_target_")).rpartition(".")[2]
        if name != plain:
            chosen = hydra.runtime.choices.get(f"hydra/{part}")
            raise UsageError(f"hydra/{part}={chosen}: is of a sweep, {command('train.py', '-m')} ...")
    if params := hydra.sweeper.get("params"):
        raise UsageError(f"hydra.sweeper.params={params}: is of a sweep, {command('train.py', '-m')} ...")


def _harmless(name: str) -> tuple[object, ...]:
    return (False,) if name == "hydra.job.chdir" else ()


def _require_known(key: str, line: str) -> None:
    """Hydra adds any key to its own node without a word."""
    place: Any = HydraConf
    for part in key.split(".")[1:]:
        if not is_dataclass(place):
            return
        known = [field.name for field in fields(place)]
        if part not in known:
            raise UsageError(f"{line}: {unknown('key', part, known)}")
        place = get_type_hints(place)[part]
