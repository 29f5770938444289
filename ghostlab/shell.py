"""Commands as they are printed: a shell reads them as they are meant, whatever their paths hold."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = ["command"]

HERE = Path(__file__).resolve().parent
SUBCOMMANDS = {"tools/distill_cache.py": "teacher-cache"}
"""Scripts that are called otherwise where the package is installed."""


def command(script: str, *words: object) -> str:
    """How to run ``script``, which is ``train.py`` or one in ``tools/``, each word quoted where it needs to be.

    ``python <script> <words>`` in a checkout; ``ghostlab <command> <words>`` where there is none, and to those who call
    it so.
    """
    if _by_script():
        return shlex.join(["python", script, *map(str, words)])
    return shlex.join(["ghostlab", SUBCOMMANDS.get(script, Path(script).stem), *map(str, words)])


def _by_script() -> bool:
    started = Path(sys.argv[0]).resolve()
    return (HERE.parent / "train.py").is_file() and started.stem != "ghostlab" and started.parent != HERE
