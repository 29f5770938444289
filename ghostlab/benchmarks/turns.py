"""Contestants in processes of their own, which wait for their turns so that none measures the noise of another."""

from __future__ import annotations

import functools
import multiprocessing as mp
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from ghostlab.errors import GhostlabError, RunError, lacks_memory

__all__ = ["Handler", "WorkerProcess", "answering"]

Handler = Callable[[str], Any]
"""What a contestant does in a turn, given the question."""
Work = Callable[[Connection], None]
"""What a process does: says None when all is prepared, and then answers whatever it receives."""


EXIT_TIMEOUT = 5.0
"""Seconds until the exit code of a process is known whose end of the pipe is closed."""


class _Failed(NamedTuple):
    """What a process failed of. Exceptions of other code may not survive the way between processes."""

    line: str
    traceback: str


class WorkerProcess:
    """A process that does ``work`` (importable), and answers when it is asked.

    As a context manager it ends the process. A ``GhostlabError`` in the process is raised here.
    """

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        context = mp.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_seated, args=(there, work), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()  # it has nothing to leave in order
        self._process.join()

    def wait(self) -> Any:
        """The next answer; the first one, None, comes when all is prepared.

        Raises ``RunError`` for whatever fails in the process, or when something ends it.
        """
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise RunError(f"{self.name}: its process ended {self._by()}") from error
        if isinstance(answer, GhostlabError):
            raise answer
        if isinstance(answer, _Failed):
            raise RunError(f"{self.name}: {answer.line}") from RuntimeError(answer.traceback)
        return answer

    def _by(self) -> str:
        """What ended the process, as far as its exit code tells: that of a signal is negative."""
        self._process.join(EXIT_TIMEOUT)
        code = self._process.exitcode or 0
        if code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name
        hint = ", as the system does when memory is short; a smaller --batch may help" if name == "SIGKILL" else ""
        return f"by {name}{hint}"

    def ask(self, question: str) -> Any:
        """Give it a turn and wait for the answer."""
        self._pipe.send(question)
        return self.wait()


def answering(prepare: Callable[[], Handler]) -> Work:
    """The work of a contestant that is prepared (importable), and then answers one question after the other."""
    return functools.partial(_answer, prepare)


def _answer(prepare: Callable[[], Handler], pipe: Connection) -> None:
    answer = prepare()
    pipe.send(None)
    while True:
        pipe.send(answer(pipe.recv()))


def _seated(pipe: Connection, work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one
    try:
        work(pipe)
    except GhostlabError as error:
        pipe.send(error)
    except EOFError:  # the other end is gone
        return
    except Exception as error:
        pipe.send(_Failed(_error_line(error), traceback.format_exc()))


def _error_line(error: Exception) -> str:
    if lacks_memory(error):
        return "out of memory; a smaller --batch may help"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
