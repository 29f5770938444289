"""Strategies of the user's own modules: ``plugins=[my_project.noise]``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

from ghostlab.errors import UsageError
from ghostlab.strategies.registry import StrategyEntry, add

__all__ = ["register_modules"]


def register_modules(modules: Sequence[str]) -> None:
    """Let every strategy that one of ``modules`` defines be known by its name; modules of the working folder count.

    Raises ``UsageError`` for a module that cannot be imported or defines none, and for a name that is taken.
    """
    if modules and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    for name in modules:
        module = _imported(name)
        found = [one for one in vars(module).values() if _is_strategy(one) and one.__module__ == module.__name__]
        if not found:
            raise UsageError(f"plugins=[{name}]: no subclass of ghostlab.strategies.base.Strategy is defined there")
        for one in found:
            location = f"{module.__name__}:{one.__qualname__}"
            add(str(getattr(one, "name", "")), StrategyEntry(location, plugin=_version(module)))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a module from outside may raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"plugins=[{name}]: cannot be imported ({cause})") from error


def _is_strategy(found: object) -> bool:
    from ghostlab.strategies.base import Strategy

    return inspect.isclass(found) and issubclass(found, Strategy)


def _version(module: ModuleType) -> str:
    """Of the distribution that it belongs to, or else of its text."""
    for distribution in packages_distributions().get(module.__name__.partition(".")[0], ()):
        return f"{distribution} {version(distribution)}"
    text = Path(module.__file__).read_bytes() if module.__file__ else b""
    return f"{module.__name__} {hashlib.sha256(text).hexdigest()[:8]}"
