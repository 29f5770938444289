"""The commands of the tutorials, one after the other in an empty folder: each prints what its page shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
NEEDS = {"from-run-to-phone": ("onnxruntime", "executorch")}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLUMNS = "80"
"""The width of the terminal that the pages show."""
CTRL_C = "^C"
COUNTED = r" (?:[kM]\b|bytes|classes|convolutions|epochs of|finished|images\b(?!/)|px|rows|runs|seeds|to do)"
"""What follows a number that is the same on every machine."""
SCRIPT = """
import sys
from ghostlab.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


class Step(NamedTuple):
    """A ``bash`` block, and the ``text`` block after it: what is printed, empty where the page does not show it."""

    typed: str
    shown: str = ""


def steps(page: str) -> list[Step]:
    """The blocks of a page in their order; each output belongs to the command before it."""
    found: list[Step] = []
    for language, content in BLOCK.findall(page):
        assert language in ("bash", "text"), f"a block of {language or 'no language'}, which nothing runs"
        if language == "bash":
            found.append(Step(content))
        else:
            assert found and not found[-1].shown, f"no command prints this:\n{content}"
            found[-1] = Step(found[-1].typed, content)
    return found


def masked(text: str) -> str:
    """Without what another machine prints otherwise: measured numbers, hashes, and the widths of columns.

    A number is kept where what follows it says that nothing was measured.
    """
    text = re.sub(r"\b[0-9a-f]{8}\b|\b[0-9a-f]{64}\b", "<hash>", text)
    text = re.sub(r"(?:\b(?:over|about) )?(?:\d+ (?:h|min) )*\b\d+ (?:s|min)\b", "<time>", text)
    number = r"(?<![\w=/-])[-+±<]?\b\d++(?:[.,]\d++)*+(?:e[-+]\d+)?x?\b"
    text = re.sub(rf"(?:\b(?:over|about) )?{number}(?!/|{COUNTED})", "<measured>", text)
    return re.sub(r"(?:[^\S\n]|[─━])+", " ", text).replace(" \n", "\n").strip()


def fits(shown: str, printed: str) -> bool:
    """Whether what is printed is what is shown, in which three dots stand for anything."""
    pattern = re.escape(masked(shown)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, masked(printed), re.DOTALL) is not None


def run(step: Step, folder: Path) -> str:
    """What a block prints, in the order in which a terminal shows it."""
    printed = folder.parent / "printed.txt"
    printed.write_text("")
    if step.typed.startswith("ghostlab "):
        code = run_ghostlab(step, folder, printed)
    else:
        with printed.open("w") as out:
            shell = ["bash", "-e", "-c", step.typed]
            code = subprocess.run(shell, cwd=folder, stdout=out, stderr=subprocess.STDOUT).returncode
    text = printed.read_text("utf-8")
    assert code == (CTRL_C in step.shown), f"exit code {code}: {step.typed}{text}"
    return text


def run_ghostlab(step: Step, folder: Path, printed: Path) -> int:
    """The exit code of a block that is one command of ghostlab's, interrupted where the page shows it."""
    from ghostlab.testing.processes import run_script

    command = folder.parent / "ghostlab"
    command.write_text(SCRIPT)
    before, interrupted, _ = step.shown.partition(f"{CTRL_C}\n")
    if interrupted:
        Thread(target=interrupt, args=(before.splitlines()[-1], printed), daemon=True).start()
    return run_script(command, words(step.typed, folder), folder, printed, printed)


def words(typed: str, folder: Path) -> list[str]:
    """The arguments that the shell makes of the one command of a block."""
    shell = f'ghostlab() {{ printf "%s\\0" "$@"; }}\n{typed}'
    done = subprocess.run(["bash", "-e", "-c", shell], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def interrupt(after: str, printed: Path) -> None:
    """Ctrl-C, once the line ``after`` was printed."""
    while not fits(f"...\n{after}", printed.read_text("utf-8")):
        time.sleep(0.02)
    with printed.open("a") as out:
        out.write(f"{CTRL_C}\n")
    for process in active_children():
        os.kill(process.pid or 0, signal.SIGINT)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("top-1 93.3  6 s  seed0-7ccf929b", "top-1 8.1    1 min 2 s  seed0-00000000", True),
        ("ema  +0.46 [-2.6, +1.7] helps  over 100", "ema -1.2  [-3, -1.75]   helps   about 7", True),
        ("ema  +0.46 [-2.6, +1.7] helps", "ema  +0.46 [-2.6, +1.7] hurts", False),
        ("epoch 1/6  loss 2.0\n...\nnext", "epoch 1/6  loss 3.1\nepoch 2/6  loss 2.9\nnext", True),
        ("epoch 1/6  loss 2.0", "epoch 2/6  loss 2.0", False),
        ("373 k params, 10 classes", "374 k params, 10 classes", False),
        ("4 epochs of 898 images", "4 epochs of 899 images", False),
        ("one\ntwo", "one\ntwo\nthree", False),
    ],
)
def test_words_and_counts_are_compared_and_what_is_measured_is_not(shown: str, printed: str, same: bool) -> None:
    assert fits(shown, printed) is same


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package)
    monkeypatch.setenv("COLUMNS", COLUMNS)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "empty"
    folder.mkdir()
    for step in steps(page.read_text("utf-8")):
        printed = run(step, folder)
        assert fits(step.shown or "...", printed), f"{step.typed}shown:\n{step.shown}\nprinted:\n{printed}"
