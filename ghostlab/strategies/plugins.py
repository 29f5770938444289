"""Strategies of the user's own modules: ``plugins=[my_project.noise]``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from ghostlab.errors import UsageError
from ghostlab.modules import imported, version_of
from ghostlab.strategies.registry import StrategyEntry, add

__all__ = ["register_modules"]


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


def _is_strategy(found: object) -> bool:
    from ghostlab.strategies.base import Strategy

    return inspect.isclass(found) and issubclass(found, Strategy)
