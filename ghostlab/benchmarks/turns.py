"""Contestants in processes of their own, which wait for their turns so that none measures the noise of another."""

from __future__ import annotations

import multiprocessing as mp
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from ghostlab.errors import GhostlabError, RunError

__all__ = ["Answer", "Seat"]

Answer = Callable[[str], Any]
"""What a contestant does in a turn, given the question."""


class Seat:
    """A process that calls ``prepare`` (importable) and then answers questions with what that returned.

    As a context manager it ends the process. A ``GhostlabError`` in the process is raised here.
    """

    def __init__(self, name: str, prepare: Callable[[], Answer]) -> None:
        self.name = name
        context = mp.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, prepare), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.join()

    def wait(self) -> Any:
        """The next answer; the first one, None, comes when all is prepared. ``RunError`` when the process has died."""
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RunError(f"{self.name}: its process died (out of memory?); a smaller --batch may help") from None
        if isinstance(answer, GhostlabError):
            raise answer
        return answer

    def ask(self, question: str) -> Any:
        """Give it a turn and wait for the answer."""
        self._pipe.send(question)
        return self.wait()


def _work(pipe: Connection, prepare: Callable[[], Answer]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one
    try:
        answer = prepare()
        pipe.send(None)
        while True:
            pipe.send(answer(pipe.recv()))
    except GhostlabError as error:
        pipe.send(error)
    except EOFError:  # the other end is gone
        return
