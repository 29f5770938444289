"""What there is to choose from: strategies with their knobs, models, data sets."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from ghostlab.cli.guard import guarded
from ghostlab.errors import UsageError, nearest, unknown
from ghostlab.runs.compose import CONF

__all__ = ["data", "models", "strategies"]


def strategies(arguments: list[str], prog: str = "ghostlab strategies") -> int:
    """Print what each strategy does and its knobs; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Strategies, in the order in which they are applied.")
    parser.add_argument("names", nargs="*", metavar="STRATEGY", help="these alone")
    given = parser.parse_args(arguments)
    return guarded(lambda: _print(_strategies(given.names)))


def models(arguments: list[str], prog: str = "ghostlab models") -> int:
    """Print the names that ``model=`` takes, and those of timm; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Names of model=, or all of timm's that match.")
    parser.add_argument("pattern", nargs="?", help="such as 'ghost*': of timm's as well, for model=timm model.name=")
    given = parser.parse_args(arguments)
    return guarded(lambda: _print(_models(given.pattern)))


def data(arguments: list[str], prog: str = "ghostlab data") -> int:
    """Print the data sets; the exit code."""
    argparse.ArgumentParser(prog=prog, description="Data sets, for data=.").parse_args(arguments)
    return guarded(lambda: _print(_data()))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line)


def _strategies(names: list[str]) -> Iterator[str]:
    from ghostlab.strategies.registry import RECIPES, STRATEGIES, load

    for name in names:
        if name not in STRATEGIES and name not in RECIPES:
            raise unknown("strategy", name, [*STRATEGIES, *RECIPES])
    for name, entry in STRATEGIES.items():
        if name in names or not names:
            found = load(name)
            about = (sys.modules[found.__module__].__doc__ or "").split("\n")[0].rstrip(".")
            slot = entry.slot or found.slot
            told = (f"one {slot} a run" if slot else "", f"from {entry.plugin}" if entry.plugin else "")
            yield f"{name:<12} {about}" + "".join(f"   [{one}]" for one in told if one)
            yield from (f"{'':<12}   {line}" for line in map(_knob, fields(found)))  # type: ignore[arg-type]
    for name, parts in RECIPES.items():
        if name in names or not names:
            yield f"{name:<12} the recipe {'+'.join(parts)}"


def _knob(field: Field[Any]) -> str:
    made = field.default_factory() if field.default_factory is not MISSING else field.default
    value = "null" if made is None else str(made).lower() if isinstance(made, bool) else made
    return f"{field.name}={value} ({field.type})"


def _models(pattern: str | None) -> Iterator[str]:
    own = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
    if pattern is None:
        yield from own
        return
    import timm

    theirs = timm.list_models(pattern)
    found = [name for name in own if fnmatch.fnmatch(name, pattern)]
    if not found and not theirs:
        raise UsageError(f"'{pattern}': no such model{nearest(pattern, [*own, *timm.list_models()])}")
    yield from (f"model={name}" for name in found)
    yield from (f"model=timm model.name={name}" for name in theirs if name not in found)


def _data() -> Iterator[str]:
    for file in sorted((CONF / "data").glob("*.yaml")):
        yield f"{file.stem:<14} {file.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}"
