"""The code is formatted, linted and typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest import param

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "tool",
    [
        param(["ruff", "check"], id="lint"),
        param(["ruff", "format", "--check"], id="format"),
        param(["mypy"], id="types"),
    ],
)
def test_the_code_is_clean(tool: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
