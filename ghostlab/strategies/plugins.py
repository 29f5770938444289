"""Strategies of the user's own modules: ``plugins=[my_project.noise]``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence

from ghostlab.errors import UsageError
from ghostlab.modules import imported, version_of
from ghostlab.strategies.registry import STRATEGIES, StrategyEntry, add

__all__ = ["hand_down", "register_inherited", "register_modules"]

INHERITED = "GHOSTLAB_PLUGINS"
"""In the environment, modules with strategies."""


def register_modules(modules: Sequence[str]) -> None:
    """Let every strategy that one of ``modules`` defines be known by its name; modules of the working folder count.

    Raises ``UsageError`` for a module that cannot be imported or defines none, and for a name that is taken.
    """
    for name in modules:
        module = imported(name, f"plugins=[{name}]")
        found = [one for one in vars(module).values() if _is_strategy(one) and one.__module__ == module.__name__]
        if not found:
            raise UsageError(f"plugins=[{name}]: no subclass of ghostlab.strategies.base.Strategy is defined there")
        for one in found:
            location = f"{module.__name__}:{one.__qualname__}"
            add(str(getattr(one, "name", "")), StrategyEntry(location, plugin=version_of(module)))


def hand_down() -> None:
    """Let the processes that this one starts know the modules that it knows."""
    known = {entry.location.partition(":")[0] for entry in STRATEGIES.values() if entry.plugin}
    if known:
        os.environ[INHERITED] = ",".join(sorted(known))


def register_inherited() -> None:
    """``register_modules`` for those that were handed down."""
    register_modules([name for name in os.environ.get(INHERITED, "").split(",") if name])


def _is_strategy(found: object) -> bool:
    from ghostlab.strategies.base import Strategy

    return inspect.isclass(found) and issubclass(found, Strategy)
