"""Shared by all tests: one thread a process, and the real commands run as a user runs them."""

from __future__ import annotations

import gc
import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton

from ghostlab.strategies.registry import INHERITED
from tests.slow import keep_fast

ROOT = Path(__file__).parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and their children, ignore it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only what takes less than a fifth of a second each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        keep_fast(items, config)


def pytest_collection_finish() -> None:
    """What is imported by now stays: a collection of garbage, one in every run, need not look at it again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_plugins_of_other_tests() -> Iterator[None]:
    yield
    os.environ.pop(INHERITED, None)


Command = Callable[..., subprocess.CompletedProcess[str]]


def run_in(folder: Path, script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A command of the project in a process of its own, forked from one that has imported torch and Lightning."""
    from ghostlab.testing.processes import run_script

    with tempfile.TemporaryDirectory() as printed:
        out, err = (Path(printed) / name for name in ("stdout", "stderr"))
        code = run_script(ROOT / script, arguments, folder, out, err, timeout)
        return subprocess.CompletedProcess([script, *arguments], code, out.read_text("utf-8"), err.read_text("utf-8"))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command("train.py", "strategy=kd")`` runs a command of the project in a new, empty folder."""

    def run(script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return run_in(tmp_path, script, *arguments, timeout=timeout)

    return run


@pytest.fixture
def fresh_command(tmp_path: Path) -> Command:
    """Like ``command``, but in an interpreter of its own: for what ends as no forked process does."""

    def run(script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(ROOT / script), *arguments]
        options: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        return subprocess.run(line, cwd=tmp_path, timeout=timeout, **options)

    return run


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Like ``command``, but in this process, which need not import everything again.

    For what does not depend on the process; what would print a traceback there is raised here.
    """
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        with monkeypatch.context() as patch, as_in_a_new_process(patch), pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", [script, *arguments])
            runpy.run_path(str(ROOT / script), run_name="__main__")
        printed = capfd.readouterr()
        return subprocess.CompletedProcess([script, *arguments], ended.value.code, printed.out, printed.err)  # type: ignore[arg-type]

    return run


@contextmanager
def as_in_a_new_process(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Warnings and logs go to stderr, as without pytest, and Hydra has not run yet; undone afterwards."""
    patch.setenv("HYDRA_FULL_ERROR", "")
    patch.setitem(Singleton._instances, HydraConfig, type.__call__(HydraConfig))
    patch.setattr(logging.root, "handlers", [])
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for unseen in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", unseen)
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        warnings.showwarning = _print_warning
        yield


def _print_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
