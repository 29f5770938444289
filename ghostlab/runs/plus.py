"""Let ``strategy=kd+reparam`` name several files of Hydra's config group ``strategy`` at once.

Hydra asks every config source for ``strategy/kd+reparam``; this one answers with a config whose defaults are its parts.
"""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from ghostlab.strategies.registry import join

__all__ = ["register"]

GROUP = "strategy"


class PlusSource(ConfigSource):
    """Answers for ``strategy/<a>+<b>`` and nothing else."""

    @staticmethod
    def scheme() -> str:
        return "plus"

    def is_config(self, config_path: str) -> bool:
        return "+" in _joined(config_path)

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
        return []


class PlusSearchPath(SearchPathPlugin):
    """Adds the source to the search path of every configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="ghostlab", path=f"plus://{GROUP}")


def register() -> None:
    """Make Hydra know the "+" of strategies; call it before ``hydra.main`` or ``hydra.initialize``."""
    for plugin in (PlusSource, PlusSearchPath):
        Plugins.instance().register(plugin)


def _joined(config_path: str) -> str:
    group, _, name = config_path.rpartition("/")
    return name.removesuffix(".yaml") if group == GROUP else ""
