"""``result.json``: what a finished run says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ghostlab.files import write_text

__all__ = ["read_result", "write_result"]


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``; its presence says that the run is finished."""
    write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, None where there is none."""
    try:
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
