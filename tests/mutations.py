"""Whether small mutations of the package are noticed: python tests/mutations.py [a word of the files to mutate]

Those of ``mutations.yaml`` are made one at a time in a copy of the project, where their tests are run in a process that
is forked from one that has imported what the project needs. Mutations that no test notices are named at the end, with
exit code 1.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "outputs", "build", "dist", "data.zip", "*.egg-info", "__pycache__")
PRELOADED = ["hydra", "pytest", "pytorch_lightning", "scipy.stats", "sklearn.datasets", "timm", "torch", "torchmetrics"]
PATIENCE = 900
FAILED = 1
"""pytest's exit code where tests have failed; others say that they could not be run."""


class Mutation(NamedTuple):
    """``old``, which is once in the ``file`` of the package, becomes ``new``; ``tests`` are files below ``tests/``."""

    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} -> {self.new!r}"


def read() -> list[Mutation]:
    table = yaml.safe_load((ROOT / "tests" / "mutations.yaml").read_text(encoding="utf-8"))
    return [Mutation(file, *one) for file, several in table.items() for one in several]


def once(mutation: Mutation) -> bool:
    return (ROOT / "ghostlab" / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1


@contextmanager
def mutated(copy: Path, mutation: Mutation) -> Iterator[None]:
    file = copy / "ghostlab" / mutation.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def outcome(copy: Path, tests: str) -> int | None:
    """pytest's exit code, None where the tests take too long."""
    process = get_context("forkserver").Process(target=_test, args=(copy, tests))
    process.start()
    process.join(PATIENCE)
    process.kill()
    process.join()
    return process.exitcode if process.exitcode is not None and process.exitcode >= 0 else None


def _test(copy: Path, tests: str) -> None:
    import pytest

    os.chdir(copy)
    sys.path[:0] = [str(copy)]
    os.environ["PYTHONPATH"] = str(copy)
    sys.dont_write_bytecode = True
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.exit(
        pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests.split())])
    )


def main(word: str) -> int:
    mutations = [one for one in read() if word in one.file]
    stale = [one for one in mutations if not once(one)]
    for one in stale:
        print(f"not once in its file  {one}")
    mutations = [one for one in mutations if one not in stale]
    get_context("forkserver").set_forkserver_preload(PRELOADED)
    survived: list[Mutation] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ghostlab"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        every = sorted({one.tests for one in mutations})
        print(f"{len(every)} parts of the tests, without a mutation first", flush=True)
        for tests in every:
            if (code := outcome(copy, tests)) != 0:
                print(f"tests/{tests} fails without a mutation ({code})")
                return 1
        begun = time.monotonic()
        for number, one in enumerate(mutations, 1):
            with mutated(copy, one):
                code = outcome(copy, one.tests)
            left = (time.monotonic() - begun) / number * (len(mutations) - number)
            said = "noticed" if code in (FAILED, None) else "SURVIVED" if code == 0 else f"COULD NOT BE RUN ({code})"
            survived += [one] if code not in (FAILED, None) else []
            print(f"{number}/{len(mutations)}  {said}  {one}  left {left / 60:.0f} min", flush=True)
    print(f"{len(mutations) - len(survived)} of {len(mutations)} mutations noticed")
    for one in survived:
        print(f"survived  {one}  tests/{one.tests}")
    return int(bool(survived or stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
