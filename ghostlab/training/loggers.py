"""Where figures go besides ``metrics.csv``: TensorBoard, or a logger of the user's; neither may stop a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.errors import UsageError
from ghostlab.modules import called
from ghostlab.quantities import is_number
from ghostlab.runs.processes import is_first
from ghostlab.runs.settings import Settings

__all__ = ["RunLogger", "build_logger"]

METHODS = ("log_hyperparams", "log_metrics", "save", "finalize")
"""What is asked of a logger; Lightning has its classes in two packages, and either will do."""

logger = logging.getLogger(__name__)


class RunLogger(Logger):
    """Hands on to the logger that ``given`` names, in the first process: what that raises is said once.

    Lightning calls a run finished before its result is known, so ``finish`` does it.
    """

    def __init__(self, given: str, target: Any) -> None:
        super().__init__()
        self._given, self._target, self._said = given, target, False

    @property
    def name(self) -> str:
        return self._given

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self._ask("log_hyperparams", params)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._ask("log_metrics", metrics, step)

    def save(self) -> None:
        self._ask("save")

    def finalize(self, status: str) -> None:
        if status != "success":
            self._ask("finalize", status)

    def finish(self, result: Mapping[str, Any], step: int) -> None:
        """Log the numbers of a ``result.json`` as ``result/top1`` and the like, and that the run is finished."""
        numbers = {f"result/{key}": value for key, value in result.items() if is_number(value)}
        self.log_metrics(numbers, step)
        self.save()
        self._ask("finalize", "success")

    @rank_zero_only
    def _ask(self, method: str, *arguments: Any) -> None:
        try:
            getattr(self._target, method)(*arguments)
        except Exception as error:  # a tracking server that is away is no reason to lose a run
            if not self._said:
                cause = " ".join(f"{type(error).__name__}: {error}".split())
                logger.warning("%s: %s failed (%s); the run goes on, and this is said once", self._given, method, cause)
            self._said = True


def build_logger(settings: Settings) -> RunLogger | None:
    """The logger of a run, None for ``logger=none`` and in all processes but the first.

    Raises ``UsageError`` where TensorBoard is not installed, and for a function that fails or makes something else.
    """
    if settings.logger.name == "none" or not is_first():
        return None
    if settings.logger.name == "tensorboard":
        return RunLogger("logger=tensorboard", _tensorboard(settings))
    return RunLogger(f"logger.factory={settings.logger.factory}", _custom(settings))


def _custom(settings: Settings) -> Any:
    name, options = str(settings.logger.factory), settings.logger.options
    run = settings.folder.relative_to(settings.config["outputs"]).as_posix()
    made = called(name, "logger.factory", {"folder": settings.folder / "logger", "name": run}, options)
    if absent := [method for method in METHODS if not callable(getattr(made, method, None))]:
        found = f"a {type(made).__name__}, which has no {absent[0]}"
        raise UsageError(f"logger.factory={name}: it returns {found}, not a Lightning logger")
    return made


def _tensorboard(settings: Settings) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(settings.folder, name="", version="tensorboard", default_hp_metric=False)
    except ModuleNotFoundError as error:
        raise UsageError("logger=tensorboard: needs `pip install 'ghostlab[tensorboard]'`") from error
