"""Composing a configuration, on the command line and from Python, with ``strategy=kd+reparam`` and plug-ins.

Hydra asks every config source for ``strategy/kd+reparam``; this one answers with a config whose defaults are its parts.
The defaults of a strategy from outside are those of its class, unless there is a file of the user's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf

from ghostlab.errors import UsageError
from ghostlab.strategies.registry import STRATEGIES, join, knobs, load, plugged, register_inherited, register_modules

__all__ = ["CONF", "VERSION_BASE", "compose", "modules_of", "native_test_size", "register", "register_plugins"]

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""In the package where that was installed, beside it in a checkout."""
# Hydra 1.4 has one behaviour only and deprecates the argument that chose it.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def compose(overrides: Sequence[str] = (), folders: Sequence[str] | None = None) -> DictConfig:
    """The configuration of ``python train.py <overrides>``; works inside a running Hydra application, too.

    ``folders`` are searched besides ``conf/``, as in ``hydra.searchpath``; None: those of the running application.
    Raises Hydra's own errors for what cannot be composed and ``UsageError`` for strategies that cannot be joined.

        >>> from ghostlab.runs import compose
        >>> cfg = compose(["strategy=kd+reparam", "model=ghostnetv2", "strategy.kd.alpha=0.7"])
        >>> list(cfg.strategy), cfg.strategy.kd.alpha
        (['kd', 'reparam'], 0.7)
    """
    searched = _own_folders() if folders is None else folders
    register()
    register_plugins(overrides, searched)
    quoted = ",".join(QuotedString(folder, Quote.single).with_quotes() for folder in searched)
    search = [f"hydra.searchpath=[{quoted}]"] if searched else []
    with _hydra_set_aside(), initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose("config", [*search, *overrides])


def _own_folders() -> list[str]:
    """What ``--config-dir`` and ``hydra.searchpath`` add to the running application."""
    if not HydraConfig.initialized():
        return []
    known = ("hydra", "main", "ghostlab", "schema")
    sources = HydraConfig.get().runtime.config_sources
    return [f"{source.schema}://{source.path}" for source in sources if source.provider not in known]


@contextmanager
def _hydra_set_aside() -> Iterator[None]:
    """Hydra is a singleton: take away that of a running application, and give it back."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)


def native_test_size(*, _root_: DictConfig, _parent_: DictConfig) -> int | None:
    """``data.test_size``: the model's own where the training images have its own size; None: as large as those.

    EfficientNetV2 is tested on larger images than it is trained on.
    """
    sizes = OmegaConf.select(_root_, "model.native")
    if sizes is None or sizes.train != _parent_.image_size or sizes.test == sizes.train:
        return None
    return int(sizes.test)


OmegaConf.register_new_resolver("native_test_size", native_test_size, replace=True)


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
