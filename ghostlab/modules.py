"""Modules of the user's own, named on a command line: those of the working folder, and installed ones."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

from ghostlab.errors import UsageError

__all__ = ["imported", "is_function", "version_of"]


def is_function(name: str) -> bool:
    """Whether a name is that of a function in a module, as "my_project.nets:tiny" is."""
    return ":" in name


def imported(name: str, given: str) -> ModuleType:
    """The module ``name``; ``UsageError`` that begins with ``given``, as in "plugins=[noise]", where it cannot be
    imported."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a module from outside may raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{given}: cannot be imported ({cause})") from error


def version_of(module: ModuleType) -> str:
    """The distribution that it belongs to with its version, or its name and a hash of its text."""
    for distribution in _distributions().get(module.__name__.partition(".")[0], ()):
        return f"{distribution} {version(distribution)}"
    text = Path(module.__file__).read_bytes() if module.__file__ else b""
    return f"{module.__name__} {hashlib.sha256(text).hexdigest()[:8]}"


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Of each package that is installed; it takes seconds to read them all."""
    return packages_distributions()
