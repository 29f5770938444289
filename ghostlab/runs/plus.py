"""Let ``strategy=kd+reparam`` name several files of Hydra's group ``strategy`` at once, and plug-ins that have none.

Hydra asks every config source for ``strategy/kd+reparam``; this one answers with a config whose defaults are its parts.
The defaults of a strategy from outside are those of its class, unless there is a file of the user's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import ListConfig, OmegaConf

from ghostlab.errors import UsageError
from ghostlab.strategies.registry import STRATEGIES, join, knobs, load, plugged, register_inherited, register_modules

__all__ = ["modules_of", "register", "register_plugins"]

GROUP = "strategy"
NAME = re.compile(r"[\w-]+")


class PlusSource(ConfigSource):
    """Answers for ``strategy/<a>+<b>`` and nothing else."""

    @staticmethod
    def scheme() -> str:
        return "plus"

    def is_config(self, config_path: str) -> bool:
        register_inherited()
        name = _joined(config_path)
        if plugged((name,)):
            load(name)  # says what is wrong with one that is not in the store
        return "+" in name

    def load_config(self, config_path: str) -> ConfigResult:
        joined = _joined(config_path)
        join(joined)
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create({"defaults": joined.split("+")}),
            header={"package": None},
        )

    def is_group(self, config_path: str) -> bool:
        return False

    def available(self) -> bool:
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [*plugged(tuple(STRATEGIES))] if config_path == GROUP else []


class PlusSearchPath(SearchPathPlugin):
    """Adds the source to the search path of every configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="ghostlab", path=f"plus://{GROUP}")


def register() -> None:
    """Make Hydra know the "+" of strategies; call it before ``hydra.main`` or ``hydra.initialize``."""
    for plugin in (PlusSource, PlusSearchPath):
        Plugins.instance().register(plugin)
    _offer()


def register_plugins(overrides: Sequence[str], folders: Sequence[str] = ()) -> None:
    """Let the strategies of the modules in ``plugins`` be known, before Hydra is asked for them.

    ``plugins`` stands in an override, or in a file of the user's ``folders`` that one chooses, such as an experiment.
    Raises ``UsageError`` as ``register_modules`` does, and for what is no list of modules.
    """
    for given in (*_overridden(overrides), *_chosen(overrides, folders)):
        register_modules(modules_of(given))
        _offer()


def _overridden(overrides: Sequence[str]) -> Iterator[object]:
    for line in overrides:
        if line.lstrip("+").partition("=")[0] == "plugins":
            yield OverridesParser.create().parse_override(line).value()


def _chosen(overrides: Sequence[str], folders: Sequence[str]) -> Iterator[object]:
    for folder, line in product(folders, overrides):
        group, _, names = line.lstrip("+").partition("=")
        for name in names.split(","):
            file = Path(folder.removeprefix("file://"), group, f"{name}.yaml")
            if NAME.fullmatch(name) and file.is_file() and "plugins" in (node := OmegaConf.load(file)):
                yield node.plugins


def _offer() -> None:
    """Let Hydra know the knobs of all strategies from outside, which come after all folders of the user."""
    # A file of the user's for a strategy from outside has the class's defaults beneath it, which is meant.
    warnings.filterwarnings("ignore", message=r"\s*'strategy/\w+' is validated against ConfigStore schema")
    for name in plugged(tuple(STRATEGIES)):
        with suppress(UsageError):
            ConfigStore.instance().store(name, {name: knobs(name)}, group=GROUP, provider="ghostlab")


def modules_of(given: object) -> list[str]:
    """The value of ``plugins`` as names of modules."""
    if not isinstance(given, list | ListConfig) or not all(isinstance(one, str) for one in given):
        raise UsageError(f"plugins={given}: a list of modules, as in plugins=[my_project.noise]")
    return [str(one) for one in given]


def _joined(config_path: str) -> str:
    group, _, name = config_path.rpartition("/")
    return name.removesuffix(".yaml") if group == GROUP else ""
