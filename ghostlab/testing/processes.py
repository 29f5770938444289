"""Training in processes of their own that need not import everything again: each is forked from one that has."""

from __future__ import annotations

import gc
import os
import runpy
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.runs import compose
from ghostlab.training.classifier import Classifier
from ghostlab.training.run import run

__all__ = ["killed_at", "run_script", "side_by_side", "start"]

PATIENCE = 200


def start(overrides: Sequence[str], printed: Path) -> BaseProcess:
    """A process that trains what ``train.py <overrides>`` would, its output in the file ``printed``."""
    return _started(_train, overrides, printed)


def killed_at(step: tuple[int, int], overrides: Sequence[str], printed: Path) -> None:
    """Train until (epoch, batch), both from 0, where SIGKILL ends the process."""
    process = _started(_train_and_die, step, overrides, printed)
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL, printed.read_text(encoding="utf-8")


def run_script(
    script: Path, arguments: Sequence[str], folder: Path, stdout: Path, stderr: Path, timeout: float = PATIENCE
) -> int:
    """The exit code of ``python <script> <arguments>``, started in ``folder``, with what it printed in two files.

    Raises ``TimeoutError`` after ``timeout`` seconds, when it has been killed.
    """
    process = _started(_run_script, script, arguments, folder, stdout, stderr, dict(os.environ))
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{script.name} {' '.join(arguments)}: not over after {timeout:g} s")
    return process.exitcode


def side_by_side(overrides: Sequence[str], weights: Path) -> None:
    """One run of two processes, as torchrun starts them; each leaves its last ``<weights>/<rank>.pt``."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = [weights / f"{rank}.txt" for rank in (0, 1)]
    ranks = [_started(_train_as, rank, port, overrides, weights, file) for rank, file in enumerate(files)]
    for process in ranks:
        process.join(PATIENCE)
    assert [process.exitcode for process in ranks] == [0, 0], "".join(f.read_text(encoding="utf-8") for f in files)


def _started(target: object, *arguments: object) -> BaseProcess:
    server = get_context("forkserver")  # which Windows has not
    server.set_forkserver_preload([__name__])
    with _known_to_children():
        forkserver.ensure_running()
    process = server.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    return process


@contextmanager
def _known_to_children() -> Iterator[None]:
    """What can be imported here can be there: the server itself would only look into the working folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _run_script(
    script: Path, arguments: Sequence[str], folder: Path, stdout: Path, stderr: Path, environment: dict[str, str]
) -> None:
    gc.freeze()  # what is imported stays: a collection of garbage, one in every run, need not look at it again
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    _printed_to(stdout, stderr)
    sys.argv, sys.path[:0] = [str(script), *arguments], [str(script.parent)]
    runpy.run_path(str(script), run_name="__main__")


def _printed_to(stdout: Path, stderr: Path) -> None:
    for stream, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)


def _train(overrides: Sequence[str], printed: Path) -> None:
    _printed_to(printed, printed)
    torch.set_num_threads(1)
    run(compose(overrides))


def _train_and_die(step: tuple[int, int], overrides: Sequence[str], printed: Path) -> None:
    original = Classifier.training_step

    def training_step(self: Classifier, batch: object, index: int) -> torch.Tensor | None:
        if (self.current_epoch, index) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, batch, index)  # type: ignore[arg-type]

    Classifier.training_step = training_step  # type: ignore[method-assign, assignment]
    _train(overrides, printed)


def _train_as(rank: int, port: int, overrides: Sequence[str], weights: Path, printed: Path) -> None:
    several = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2") | dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
    one_machine = {"GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= several | one_machine | {"TORCHELASTIC_RUN_ID": "test"}
    rank_zero_only.rank = rank  # type: ignore[attr-defined]  # read from the environment when Lightning was imported

    def on_fit_end(self: Classifier) -> None:
        torch.save(self.state_dict(), weights / f"{rank}.pt")

    Classifier.on_fit_end = on_fit_end  # type: ignore[method-assign, assignment]
    _train([*overrides, "trainer.devices=2"], printed)
