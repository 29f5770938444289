"""One job of a sweep: how far the sweep is, where the job's output goes, and what becomes of its errors."""

from __future__ import annotations

import io
import shlex
import statistics
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from ghostlab.data.manifest import clear_manifest_cache
from ghostlab.errors import BusyError, UsageError
from ghostlab.files import write_text
from ghostlab.quantities import duration
from ghostlab.runs.identity import run_folder
from ghostlab.runs.messages import one_line
from ghostlab.runs.processes import refuse_several_processes
from ghostlab.runs.run import Run
from ghostlab.runs.settings import Settings, parse
from ghostlab.shell import command
from ghostlab.studies.jobs import Task, split_ablation
from ghostlab.terminal import say

__all__ = ["Progress", "run_job"]


@dataclass(frozen=True)
class Progress:
    """The run folders of a sweep, of which ``todo`` were not finished when it began; ``parallel`` are trained at once,
    and ``shared`` are the overrides that all have.

    Runs whose folders lie beside each other differ in seed or in values of their strategies and cost about the same.
    """

    every: Sequence[Path] = ()
    todo: Sequence[Path] = ()
    parallel: int = 1
    shared: frozenset[str] = frozenset()

    @property
    def left(self) -> list[Path]:
        """The runs to do that are not finished by now."""
        return [folder for folder in self.todo if not Run(folder).result()]

    def seconds_left(self) -> float | None:
        """Estimated from the finished runs; None before there is one."""
        measured: dict[Path, list[float]] = {}
        for folder in self.every:
            if result := Run(folder).result():
                measured.setdefault(folder.parent, []).append(result["seconds"])
        if not measured:
            return None
        typical = {parent: statistics.mean(seconds) for parent, seconds in measured.items()}
        other = statistics.mean(chain.from_iterable(measured.values()))
        return sum(typical.get(folder.parent, other) for folder in self.left) / self.parallel


def run_job(task: Task, cfg: DictConfig, progress: Progress) -> object:
    """Do one job of a sweep; what it fails of is kept in its folder's ``error.txt``, and does not stop the others.

    A job that another sweep is doing is left to it. A sweeper that waits for the value of each run gets the error.
    """
    clear_manifest_cache()  # what the images were when this process last looked
    hydra = HydraConfig.get()
    number = f"run {int(hydra.job.num) + 1}" + (f"/{len(progress.todo)}" if progress.todo else "")
    own, ablation = split_ablation(cfg)
    overrides, folder = list(hydra.overrides.task), run_folder(own)
    _before(number, overrides, progress)
    try:
        settings = parse(own)
        refuse_several_processes(settings.trainer)
        if ablation:
            raise UsageError(f"ablation={ablation.design}: its runs are planned; leave out hydra/sweeper")
        return _done(task, settings, number, progress)
    except BusyError:
        say(f"{number}  {folder} is being trained by another sweep and left to it")
        return None
    except Exception as error:
        _keep(folder, overrides, error)
        say(f"{number}  failed: {one_line(error)}")
        if str(hydra.sweeper._target_).endswith(".BasicSweeper"):
            return None
        raise


def _done(task: Task, settings: Settings, number: str, progress: Progress) -> object:
    folder, run = settings.folder, settings.run
    again = "finished already: " if run.result() and not settings.force else ""
    run.error_file.unlink(missing_ok=True)
    with _output(folder, number):
        value = task(settings)
    result = run.result()
    figures = f"top-1 {result['top1']:.1f}  {duration(result['seconds'])}  " if result else ""
    say(f"{number if progress.parallel > 1 else '        '}  {again}{figures}{folder}")
    return value


def _before(number: str, overrides: list[str], progress: Progress) -> None:
    own = shlex.join(override for override in overrides if override not in progress.shared)
    seconds = progress.seconds_left()
    say(f"{number}  {own}" + (f"  left {duration(seconds)}" if seconds else ""))


@contextmanager
def _output(folder: Path, number: str) -> Iterator[None]:
    """A run prints into its ``log.txt``; on a terminal its last line is shown while it is trained."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Run(folder).log_file.open("a", encoding="utf-8", errors="backslashreplace") as log,
        Console(stderr=True).status(number) as status,
        redirect_stdout(_Shown(log, lambda line: status.update(escape(f"{number}  {line}")))),
    ):
        yield


class _Shown(io.TextIOBase):
    """Text that goes into a file and, line by line, to ``show``."""

    def __init__(self, file: TextIO, show: Callable[[str], object]) -> None:
        self.file, self.show = file, show

    def write(self, text: str) -> int:
        if text.strip():
            self.show(text.strip().splitlines()[-1])
        return self.file.write(text)

    def flush(self) -> None:
        self.file.flush()


def _keep(folder: Path, overrides: list[str], error: Exception) -> None:
    details = "".join(traceback.format_exception(error))
    write_text(Run(folder).error_file, f"{one_line(error)}\n\n{command('train.py', *overrides)}\n\n{details}")
