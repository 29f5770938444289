"""Run folders, opened again as models: ``config.yaml`` says what was trained, ``checkpoints/`` holds its weights.

Folders come from anywhere: from other versions, other machines and disks that were full.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ghostlab.errors import RunError, UsageError
from ghostlab.models.factory import create_model
from ghostlab.models.options import given
from ghostlab.models.weights import load_weights

__all__ = ["find_run", "open_run", "read_config", "unfinished"]

logger = logging.getLogger(__name__)


def find_run(path: str | Path) -> Path | None:
    """The run folder that ``path`` is, or that the checkpoint ``path`` lies in; None when there is no such folder."""
    path = Path(path).resolve()
    folders = [path] if path.is_dir() else path.parents[:2] if path.is_file() else []
    return next((folder for folder in folders if (folder / "config.yaml").is_file()), None)


def read_config(run: Path) -> dict[str, Any]:
    """The configuration of a run; ``RunError`` when the file is not one that training wrote."""
    file = run / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, yaml.YAMLError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{file}: not the configuration of a run ({cause})") from error
    if wrong := next(_wrong(config), None):
        raise RunError(f"{file}: not the configuration of a run ({wrong})")
    return config


def unfinished(run: Path) -> str:
    """How far a run is that has no ``result.json``, such as "3 of 30 epochs"; empty for a finished one."""
    if (run / "result.json").is_file():
        return ""
    trainer = read_config(run).get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, dict) else None
    try:
        done = len(list(csv.DictReader((run / "metrics.csv").read_text(encoding="utf-8").splitlines())))
    except (OSError, ValueError, csv.Error):
        return "no result.json"
    return f"{done} of {epochs} epochs" if epochs else f"{done} epochs"


def open_run(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run in evaluation mode, and the run's configuration.

    ``path`` is a run folder, for the weights of its last epoch (averaged ones where there are any), or one of its
    checkpoints. The model has the layout of the file: with branches as it was trained. Raises ``UsageError`` when
    ``path`` is neither and ``RunError`` when the run cannot be read or has no checkpoint yet. Warns of a run that is
    not finished.
    """
    run = find_run(path)
    if run is None:
        raise UsageError(f"'{path}' is not a run folder or a checkpoint in one: no config.yaml there")
    checkpoint = Path(path) if Path(path).is_file() else run / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise RunError(f"{run}: no checkpoints/last.ckpt, its first epoch is not finished")
    config = read_config(run)
    try:
        model = create_model(**_options(config))
    except UsageError as error:  # of this version's, not of the command line
        raise RunError(f"{run / 'config.yaml'}: model.{error}") from error
    load_weights(model, checkpoint)
    if far := unfinished(run):
        logger.warning("%s is not finished (%s): its weights are those of now", run, far)
    return model.eval(), config


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``create_model``; the weights come from the run, so none are fetched."""
    return {**given(config["model"]), "pretrained": False, "num_classes": config["data"]["num_classes"]}


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
