"""What is said of a contestant whose process fails, by what ended it."""

from __future__ import annotations

import os
import signal

import pytest
from pytest import param

from ghostlab.benchmarks.turns import Handler, WorkerProcess, answering
from ghostlab.errors import RunError, UsageError


def killed() -> Handler:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def crashed() -> Handler:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def left() -> Handler:
    os._exit(3)


def confused() -> Handler:
    raise KeyError("stem")


def hungry() -> Handler:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 TB")


def refused() -> Handler:
    raise UsageError("--batch 0: must be at least 1")


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        param(killed, "one: its process ended by SIGKILL, as the system does when memory is short", id="killed"),
        param(crashed, "one: its process ended by SIGSEGV", id="crashed"),
        param(left, "one: its process ended with exit code 3", id="left"),
        param(confused, "one: KeyError: 'stem'", id="error"),
        param(hungry, "one: out of memory; a smaller --batch may help", id="memory"),
    ],
)
def test_what_ended_a_process_is_said(prepare: object, line: str) -> None:
    with WorkerProcess("one", answering(prepare)) as seat, pytest.raises(RunError) as raised:
        seat.wait()
    assert str(raised.value).startswith(line)
    assert raised.value.__cause__
    if prepare in (confused, hungry):
        assert f"in {prepare.__name__}" in str(raised.value.__cause__)  # type: ignore[attr-defined]


def test_a_users_mistake_is_handed_on() -> None:
    with WorkerProcess("one", answering(refused)) as seat, pytest.raises(UsageError, match="--batch 0"):
        seat.wait()
