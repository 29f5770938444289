"""A run on disk: the one place that knows its files, what is in them, and who is writing them.

Folders come from anywhere: from other versions, other machines and disks that were full.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from ghostlab.errors import BusyError, RunError, UsageError
from ghostlab.files import write_text
from ghostlab.models.factory import create_model
from ghostlab.models.options import model_arguments
from ghostlab.models.weights import load_weights
from ghostlab.quantities import is_number
from ghostlab.runs.identity import config_hash

__all__ = ["Run", "find_run", "open_run", "run_folders"]

logger = logging.getLogger(__name__)

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NEEDED = ("top1", "seconds")
"""Figures without which a result says nothing."""
NOT_RUNS = frozenset({"teachers", "ablation", "scaling", "decoded", "checkpoints"})
"""Folders below which no runs of a user lie."""
MADE = ("result.json", "metrics.csv", "curves.png"), ("checkpoints", "tensorboard")
"""Files and folders that training makes."""


@dataclass(frozen=True)
class Run:
    """The run in ``folder``, which need not be there yet."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def config_file(self) -> Path:
        """What the run was made of, with its classes; a folder without one is no run."""
        return self.folder / "config.yaml"

    @property
    def result_file(self) -> Path:
        """Written last and at once: its presence says that the run is finished."""
        return self.folder / "result.json"

    @property
    def history_file(self) -> Path:
        """A row an epoch."""
        return self.folder / "metrics.csv"

    @property
    def curves_file(self) -> Path:
        """A picture of the history."""
        return self.folder / "curves.png"

    @property
    def log_file(self) -> Path:
        """What a run of a sweep printed, and the traceback of what a run failed of."""
        return self.folder / "log.txt"

    @property
    def error_file(self) -> Path:
        """Why a run of a sweep failed: its first line is the reason."""
        return self.folder / "error.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the best top-1."""
        return self.checkpoints / "best.ckpt"

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"

    def config(self) -> dict[str, Any]:
        """The configuration; ``RunError`` where the file is not one that training wrote."""
        file = self.config_file
        try:
            config = self._read_config()
        except OSError as error:
            raise RunError(f"{file}: cannot be read ({error.strerror})") from error
        except (ValueError, yaml.YAMLError) as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise RunError(f"{file}: not the configuration of a run ({cause})") from error
        if wrong := next(_wrong(config), None):
            raise RunError(f"{file}: not the configuration of a run ({wrong})")
        return config

    def find_config(self) -> dict[str, Any] | None:
        """The configuration as any version wrote it; None where none says which run it is."""
        try:
            config = self._read_config()
            known = (config["data"]["name"], config["model"]["name"], config["strategy"], config["seed"])
            config_hash(config)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, OmegaConfBaseException):
            return None
        return config if all(map(isinstance, known, (str, str, dict, int))) and known[2] else None

    def _read_config(self) -> Any:
        return yaml.load(self.config_file.read_text(encoding="utf-8"), LOADER)

    def read_result(self) -> tuple[dict[str, Any] | None, str | None]:
        """What the result file holds, whatever its figures are, or why that is nothing; neither without a file."""
        try:
            result = json.loads(self.result_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, RecursionError) as error:
            return None, f"cannot be read ({type(error).__name__})"
        return (result, None) if isinstance(result, dict) else (None, "is not that of a run")

    def result(self) -> dict[str, Any] | None:
        """The result of a finished run; None where there is none, or something that training did not write.

        Raises ``RunError`` for a file that may not be read.
        """
        try:
            result = json.loads(self.result_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None
        except OSError as error:
            raise RunError(f"{self.result_file}: cannot be read ({error.strerror})") from error
        if not isinstance(result, dict) or not is_number(result.get("loss", 0)):  # some versions have none
            return None
        return result if all(is_number(result.get(key)) for key in NEEDED) else None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result."""
        write_text(self.result_file, json.dumps(result, indent=2) + "\n")

    def history(self) -> list[dict[str, float]]:
        """Of each finished epoch the finite figures; nothing of a file that cannot be read."""
        try:
            text = self.history_file.read_text(encoding="utf-8", errors="replace")
            rows = [dict(_numbers(row)) for row in csv.DictReader(text.splitlines())]
        except (OSError, csv.Error):
            return []
        return [row for row in rows if "epoch" in row]

    def unfinished(self) -> str:
        """How far it is without a result, such as "3 of 30 epochs"; empty for a finished run."""
        if self.result_file.is_file():
            return ""
        trainer = self.config().get("trainer")
        epochs = trainer.get("max_epochs") if isinstance(trainer, dict) else None
        if not self.history_file.is_file():
            return "no result.json"
        done = len(self.history())
        return f"{done} of {epochs} epochs" if epochs else f"{done} epochs"

    def failure(self) -> str | None:
        """Why it failed, None where no error was kept."""
        try:
            text = self.error_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        return text.partition("\n")[0] or "no reason given"

    def open(self, checkpoint: Path | None = None) -> nn.Module:
        """Its network in evaluation mode, with the weights of ``checkpoint`` or else of the last epoch (averaged ones
        where there are any), in the layout of the file: with branches as it was trained.

        Raises ``RunError`` for a run that cannot be read or has no checkpoint yet. Warns of one that is not finished.
        """
        file = checkpoint or self.last
        if not file.is_file():
            raise RunError(f"{self}: no checkpoints/last.ckpt, its first epoch is not finished")
        config = self.config()
        # The weights come from the run, so none are fetched.
        settled = {"pretrained": False, "num_classes": config["data"]["num_classes"]}
        try:
            model = create_model(**{**model_arguments(config["model"]), **settled})
        except UsageError as error:  # of this version's, not of the command line
            raise RunError(f"{self.config_file}: model.{error}") from error
        load_weights(model, file)
        if far := self.unfinished():
            logger.warning("%s is not finished (%s): its weights are those of now", self, far)
        return model.eval()

    def clear(self) -> None:
        """Remove what training has made."""
        files, folders = MADE
        for name in files:
            (self.folder / name).unlink(missing_ok=True)
        for name in folders:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def is_training(self) -> bool:
        """Whether a process trains it; no file is made."""
        if not self._lock.is_file():
            return False
        try:
            with FileLock(self._lock, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's file
            return False

    @contextmanager
    def alone(self, wait: bool = False) -> Iterator[None]:
        """Nobody else trains it meanwhile: ``BusyError`` where somebody does, or this one waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # A report that looks which runs are being trained holds a lock for a moment, too.
            with FileLock(self._lock, timeout=-1 if wait else 1):
                yield
        except Timeout as error:
            raise BusyError(f"{self} is being trained by another process") from error

    def refuse_busy(self) -> None:
        """``BusyError`` where somebody trains it; a folder that does not exist is not made."""
        if self._lock.exists():
            with self.alone():
                pass


def find_run(path: str | Path) -> Run | None:
    """The run that ``path`` is the folder of, or that the checkpoint ``path`` lies in; None where there is none."""
    path = Path(path).resolve()
    folders = [path] if path.is_dir() else path.parents[:2] if path.is_file() else []
    return next((run for run in map(Run, folders) if run.config_file.is_file()), None)


def run_folders(folder: Path) -> Iterator[str]:
    """The folders of runs below ``folder``, relative to it, in the order of their names."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_RUNS)
        if Run(Path(place)).config_file.name in files:
            yield Path(place).relative_to(folder).as_posix()


def open_run(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run folder, or of one of its checkpoints, and the run's configuration.

    Raises ``UsageError`` when ``path`` is neither, and as ``Run.open`` does.
    """
    run = find_run(path)
    if run is None:
        raise UsageError(f"'{path}' is not a run folder or a checkpoint in one: no config.yaml there")
    return run.open(Path(path) if Path(path).is_file() else None), run.config()


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, text in row.items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            yield name, value


def _wrong(config: Any) -> Iterator[str]:
    """What of a configuration is not as training writes it."""
    if not isinstance(config, dict):
        yield "not a mapping" if config is not None else "empty"
        return
    model, data = config.get("model"), config.get("data")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str) or not model["name"]:
        yield "no model.name"
    if not isinstance(data, dict):
        yield "no data"
        return
    classes, names = data.get("num_classes"), data.get("class_names")
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        yield f"data.num_classes={classes}"
    elif names is not None and (not isinstance(names, list) or len(names) != classes):
        yield f"data.class_names are not {classes} names"
