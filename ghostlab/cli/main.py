"""``ghostlab <command>``: what there is, the room of each, and the shell's completion of them.

Hydra itself completes what trains; commands and joined strategies are completed here.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ghostlab import __version__
from ghostlab.errors import UsageError, unknown
from ghostlab.strategies.registry import RECIPES, STRATEGIES, join

__all__ = ["COMMANDS", "FLAGS", "complete", "main"]


class Subcommand(NamedTuple):
    """A command: the module and its ``function``, in a line what it does, an example, and what it is given first."""

    module: str
    what: str
    example: str
    first: tuple[str, ...] = ()
    function: str = "main"


COMMANDS = {
    "train": Subcommand("train", "train one model with joined strategies", "strategy=kd+reparam model=ghostnetv2"),
    "sweep": Subcommand("train", "every combination, and what came out", "strategy=baseline,ema seed=0,1", ("-m",)),
    "report": Subcommand("report", "which strategies helped, and how certainly", "outputs/digits"),
    "fuse": Subcommand("fuse", "branches and batch norms collapse, with proof", "<run>"),
    "export": Subcommand("export", "files for other runtimes, each run and compared", "<run> --to onnx --int8"),
    "predict": Subcommand("predict", "what a network sees in images", "<file or run> photo.jpg folder/"),
    "cam": Subcommand("cam", "what in an image speaks for a class", "image.jpg <run> <run>"),
    "benchmark": Subcommand("benchmark", "what things cost, side by side", "latency ghostnetv2 <run>"),
    "scale": Subcommand("scale", "deeper, wider and larger networks", "show ghostnetv2 --phi 1"),
    "publish": Subcommand("publish", "a run as a folder for the hub", "<run> --out <folder> --licence mit"),
    "teacher-cache": Subcommand("teacher_cache", "teachers' answers, paid once", "list"),
    "strategies": Subcommand("catalogue", "what each strategy does, and its knobs", "kd ema", function="strategies"),
    "models": Subcommand("catalogue", "names of models", "'ghost*'", function="models"),
    "data": Subcommand("catalogue", "data sets", "", function="data"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; the exit code."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("", "-h", "--help"):
        print(contents())
        return 0 if name else 2
    if name == "--version":
        print(__version__)
        return 0
    if name in FLAGS and rest:
        return complete([name, *rest], COMMANDS)
    if name not in COMMANDS:
        sys.stderr.write(f"{unknown('command', name, COMMANDS)}\n")
        return 2
    chosen = COMMANDS[name]
    room = importlib.import_module(f"ghostlab.cli.{chosen.module}")
    return int(getattr(room, chosen.function)([*chosen.first, *rest], prog=f"ghostlab {name}"))


def contents() -> str:
    """The table of contents."""
    entries = (f"  {name:<14} {one.what}\n{'':<19}ghostlab {name} {one.example}" for name, one in COMMANDS.items())
    return "\n".join(["ghostlab <command> ...   (each has a --help of its own)", "", *map(str.rstrip, entries)])


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
