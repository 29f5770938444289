"""Commands as they are printed: a shell reads them as they are meant, whatever their paths hold."""

from __future__ import annotations

import shlex

__all__ = ["command"]


def command(script: str, *words: object) -> str:
    """``python <script> <words>``, each word quoted where it needs to be."""
    return shlex.join(["python", script, *map(str, words)])
