"""Modules of the user's own and functions in them, named on a command line: in the working folder or installed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from ghostlab.errors import GhostlabError, UsageError, nearest

__all__ = ["called", "failures_named", "function", "imported", "is_function", "version_of"]


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


def function(name: str, key: str, arguments: Sequence[str]) -> Callable[..., Any]:
    """The function ``name``, which ``key`` has named, as in "model.factory".

    Raises ``UsageError`` for a module or a function that is not there, and for one that does not take ``arguments`` by
    name: it is called for the files of a run as well, and nothing else shall be.
    """
    module, _, wanted = name.partition(":")
    found = imported(module, f"{key}={name}")
    made = getattr(found, wanted, None)
    if not callable(made):
        known = [one for one, value in vars(found).items() if callable(value) and not one.startswith("_")]
        raise UsageError(f"{key}={name}: {module} has no function '{wanted}'{nearest(wanted, known)}")
    takes = _parameters(made)
    if missing := [one for one in arguments if one not in takes]:
        raise UsageError(f"{key}={name}: it takes no {missing[0]}; it must take {' and '.join(arguments)}")
    return made


def called(name: str, key: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """What the function ``name`` makes of the arguments ``given``, which it must take, and of the user's ``options``.

    Raises ``UsageError`` as ``function`` does, for options that it does not take, and for whatever it raises.
    """
    made = function(name, key, tuple(given))
    if both := sorted(given.keys() & options.keys()):
        raise UsageError(f"{key}={name}: '{both[0]}' is no option, as it is given to it anyhow")
    try:
        inspect.signature(made).bind(**given, **options)
    except TypeError as error:
        raise UsageError(f"{key}={name}: {error}") from error
    with failures_named(f"{key}={name}"):
        return made(**given, **options)


@contextmanager
def failures_named(given: str) -> Iterator[None]:
    """Whatever code from outside raises within is a ``UsageError`` of one line that begins with ``given``."""
    try:
        yield
    except GhostlabError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{given}: fails ({cause})") from error


def version_of(module: ModuleType) -> str:
    """The distribution that it belongs to with its version, or its name and a hash of its text."""
    for distribution in _distributions().get(module.__name__.partition(".")[0], ()):
        return f"{distribution} {version(distribution)}"
    text = Path(module.__file__).read_bytes() if module.__file__ else b""
    return f"{module.__name__} {hashlib.sha256(text).hexdigest()[:8]}"


def _parameters(made: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(made).parameters)
    except ValueError:  # of something written in C
        return []


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Of each package that is installed; it takes seconds to read them all."""
    return packages_distributions()
