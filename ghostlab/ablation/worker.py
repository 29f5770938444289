"""One job of a sweep: where its output goes, and what becomes of its errors."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ghostlab.ablation.progress import ERROR, Progress
from ghostlab.config.identity import run_folder
from ghostlab.config.messages import one_line
from ghostlab.config.sweep import apart
from ghostlab.errors import BusyError, UsageError
from ghostlab.files import write_text
from ghostlab.quantities import duration
from ghostlab.training.failures import LOG
from ghostlab.training.processes import refuse_several_processes
from ghostlab.training.report import say
from ghostlab.training.result_file import read_result
from ghostlab.training.settings import parse

__all__ = ["work"]


def work(task: Callable[[DictConfig], object], cfg: DictConfig, progress: Progress) -> object:
    """Do one job of a sweep; what it fails of is kept in its folder's ``error.txt``, and does not stop the others.

    A job that another sweep is doing is left to it. A sweeper that waits for the value of each run gets the error.
    """
    hydra = HydraConfig.get()
    number = f"run {int(hydra.job.num) + 1}" + (f"/{len(progress.todo)}" if progress.todo else "")
    own, ablation = apart(cfg)
    overrides, folder = list(hydra.overrides.task), run_folder(own)
    _before(number, overrides, progress)
    try:
        refuse_several_processes(parse(own).trainer)
        if ablation:
            raise UsageError(f"ablation={ablation.design}: its runs are planned; leave out hydra/sweeper")
        return _done(task, own, number, progress)
    except BusyError:
        say(f"{number}  {folder} is being trained by another sweep and left to it")
        return None
    except Exception as error:
        _keep(folder, overrides, error)
        say(f"{number}  failed: {one_line(error)}")
        if str(hydra.sweeper._target_).endswith(".BasicSweeper"):
            return None
        raise


def _done(task: Callable[[DictConfig], object], cfg: DictConfig, number: str, progress: Progress) -> object:
    folder = run_folder(cfg)
    (folder / ERROR).unlink(missing_ok=True)
    with _output(folder, progress):
        value = task(cfg)
    if progress.parallel > 1:
        say(f"{number}  {_told(folder)}{_left(progress)}")
    return value


def _before(number: str, overrides: list[str], progress: Progress) -> None:
    own = shlex.join(override for override in overrides if override not in progress.shared)
    say(f"{number}  {own}" if progress.parallel > 1 else f"\n{number}  {own}{_left(progress)}")


def _left(progress: Progress) -> str:
    seconds = progress.seconds_left()
    return f"  left {duration(seconds)}" if seconds else ""


def _told(folder: Path) -> str:
    result = read_result(folder)
    return f"top-1 {result['top1']:.1f}  {duration(result['seconds'])}  {folder}" if result else str(folder)


@contextmanager
def _output(folder: Path, progress: Progress) -> Iterator[None]:
    """Runs that are trained at the same time print into a file each."""
    if progress.parallel == 1:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log, redirect_stdout(log):
        yield


def _keep(folder: Path, overrides: list[str], error: Exception) -> None:
    command = f"python train.py {shlex.join(overrides)}"
    details = "".join(traceback.format_exception(error))
    write_text(folder / ERROR, f"{one_line(error)}\n\n{command}\n\n{details}")
