"""``ghostlab <command>``: what there is, and the room of each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ghostlab import __version__
from ghostlab.cli.completion import FLAGS, complete
from ghostlab.errors import unknown

__all__ = ["COMMANDS", "main"]


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
