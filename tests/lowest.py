"""The lowest versions that ``pyproject.toml`` allows, as a file of constraints for pip: ``python tests/lowest.py``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest() -> list[str]:
    """``torch==2.11``, ... for each package that is needed."""
    needed = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in needed]


if __name__ == "__main__":
    print("\n".join(lowest()))
