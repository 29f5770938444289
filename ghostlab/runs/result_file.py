"""``result.json``: what a finished run says of itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ghostlab.errors import RunError
from ghostlab.files import write_text

__all__ = ["is_number", "read_result", "write_result"]

NEEDED = ("top1", "seconds")
"""Figures without which a result says nothing."""


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``; its presence says that the run is finished."""
    write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run; None where there is none, or something that training did not write.

    Raises ``RunError`` for a file that may not be read.
    """
    file = folder / "result.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror})") from error
    if not isinstance(result, dict) or not is_number(result.get("loss", 0)):  # some versions have none
        return None
    return result if all(is_number(result.get(key)) for key in NEEDED) else None


def is_number(value: Any) -> bool:
    """Whether it is a finite number; JSON has NaN as well, and true is an integer to Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
