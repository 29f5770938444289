"""A command that is called ends and prints as one in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import ROOT, Command
from tests.slow import LIST

SCRIPT = """
import logging, os, sys, warnings
from ghostlab.cli.guard import guarded

def work():
    warnings.warn("seen")
    warnings.warn("seen in a script", DeprecationWarning)
    warnings.warn("unseen", ResourceWarning)
    logging.getLogger("work").warning("seen")
    logging.getLogger("work").info("unseen")
    print(sys.argv[1:], os.getcwd())
    os.write(2, b"from below Python\\n")
    raise FileNotFoundError(2, "gone", "file")

sys.exit(guarded(work))
"""


def test_a_call_is_like_a_process(call: Command, command: Command, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = command(str(script), "one", "two")
    assert done.returncode == 1
    for _ in range(2):
        called = call(str(script), "one", "two")
        assert (called.returncode, called.stdout, called.stderr) == (done.returncode, done.stdout, done.stderr)
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_what_fast_runs_leave_out_is_there() -> None:
    for line in LIST.read_text(encoding="utf-8").split():
        file, *_, name = line.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), line
