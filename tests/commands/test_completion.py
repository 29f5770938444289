"""What a shell offers after the first letters of ``ghostlab ...``: asked by bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pytest import param

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
BIN = Path(sys.executable).parent
ASKED = """
eval "$(ghostlab -sc install=bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$2
$(complete -p ghostlab | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        param("ghostlab te", ["teacher-cache"], id="command"),
        param("ghostlab s", ["sweep", "scale", "strategies"], id="commands"),
        param("ghostlab train strategy=kd+c", ["strategy=kd+cosine", "strategy=kd+cutmix"], id="joined"),
        param("ghostlab train strategy=cosine+s", ["strategy=cosine+smoothing"], id="no-second-schedule"),
        param("ghostlab sweep strategy=ema,kd+em", ["strategy=ema,kd+ema"], id="of-a-sweep"),
        param("ghostlab train model=ghostnetv", [f"model=ghostnetv{n}" for n in (1, 2, 3)], id="choice"),
        param("ghostlab sweep seed=0,1 trainer.max_e", ["trainer.max_epochs="], id="key"),
        param("ghostlab sweep strategy=kd,ema strategy.kd.alp", ["strategy.kd.alpha="], id="key-of-the-first"),
        param("ghostlab report no_such", [""], id="other-commands-have-files"),
    ],
)
def test_bash_offers(line: str, offered: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    words = str(len(line.split()) - 1)
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    done = subprocess.run(["bash", "-c", ASKED, "bash", line, words], check=True, **options)  # type: ignore[call-overload]
    assert sorted(done.stdout.removesuffix("\n").split("\n")) == sorted(offered), done.stderr
    assert not done.stderr
