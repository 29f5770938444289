"""Shell completion of ``ghostlab <command> ...``: Hydra's own for what trains, with commands and joined strategies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from ghostlab.errors import UsageError
from ghostlab.strategies.registry import RECIPES, STRATEGIES, join

__all__ = ["FLAGS", "complete"]

FLAGS = ("-sc", "--shell-completion")
TRAINS = ("train", "sweep")
JOINED = re.compile(r"(strategy=(?:[\w+]*,)*)((?:\w+\+)+)(\w*)")
"""The key with other values of a sweep, the strategies that are joined already, and the beginning of one more."""


def complete(arguments: Sequence[str], commands: Iterable[str]) -> int:
    """Do what ``ghostlab -sc install=bash`` asks for, or the shell's ``-sc query=bash`` about the environment's
    ``COMP_LINE``, which is what is typed so far; the exit code."""
    query, _, shell = arguments[-1].partition("=")
    if query != "query":
        return _hydra(arguments)
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) < 3:
        found = [name for name in commands if name.startswith(words[-1])]
    elif words[1] in TRAINS:
        found = [*_one_more(words[-1])]
        if not found:
            os.environ["COMP_LINE"] = " ".join([words[0], *map(_first, words[2:-1]), words[-1]])
            return _hydra(arguments)
    else:
        return 0
    print(("\n" if shell == "fish" else " ").join(found))
    return 0


def _first(word: str) -> str:
    """The first of several values, for Hydra composes one run to find out which keys there are."""
    return word if set(word) & set("[{(") else word.partition(",")[0]


def _hydra(arguments: Sequence[str]) -> int:
    from ghostlab.cli.train import main

    return main([*arguments], prog="ghostlab")


def _one_more(word: str) -> Iterator[str]:
    """A strategy that can be joined to those of ``word``, each with what stands before it."""
    if not (found := JOINED.fullmatch(word)):
        return
    before, joined, begun = found.groups()
    for name in (*STRATEGIES, *RECIPES):
        if name.startswith(begun) and _joins(f"{joined}{name}"):
            yield f"{before}{joined}{name}"


def _joins(text: str) -> bool:
    try:
        return bool(join(text))
    except UsageError:
        return False
