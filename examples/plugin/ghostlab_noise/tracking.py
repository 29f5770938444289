"""A logger: a line of JSON for the settings, for each epoch and for the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

__all__ = ["JsonLines", "lines"]


class JsonLines(Logger):
    """Writes to ``file``."""

    version = 0

    def __init__(self, file: Path, name: str) -> None:
        super().__init__()
        self.file, self._name = file, name

    @property
    def name(self) -> str:
        return self._name

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self._write({"run": self.name, "settings": params})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._write({"step": step, **metrics})

    def _write(self, values: Mapping[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def lines(folder: Path, name: str) -> JsonLines:
    """The logger of the run ``name``, whose file lies in ``folder``."""
    return JsonLines(folder / "lines.jsonl", name)
