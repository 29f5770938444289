"""Run folders, opened again as models: ``config.yaml`` says what was trained, ``checkpoints/`` holds its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ghostlab.errors import RunError, UsageError
from ghostlab.models.factory import create_model
from ghostlab.models.options import given
from ghostlab.models.weights import load_weights

__all__ = ["find_run", "open_run", "read_config"]


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
        if not (config["model"]["name"] and config["data"]["num_classes"]):
            raise ValueError("empty model.name or data.num_classes")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{file}: not the configuration of a run ({cause})") from error
    return config


def open_run(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run in evaluation mode, and the run's configuration.

    ``path`` is a run folder, for the weights of its last epoch (averaged ones where there are any), or one of its
    checkpoints. The model has the layout of the file: with branches as it was trained. Raises ``UsageError`` when
    ``path`` is neither and ``RunError`` when the run cannot be read or has no checkpoint yet.
    """
    run = find_run(path)
    if run is None:
        raise UsageError(f"'{path}' is not a run folder or a checkpoint in one: no config.yaml there")
    checkpoint = Path(path) if Path(path).is_file() else run / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise RunError(f"{run}: no checkpoints/last.ckpt, its first epoch is not finished")
    config = read_config(run)
    model = create_model(**_options(config))
    return load_weights(model, checkpoint).eval(), config


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``create_model``; the weights come from the run, so none are fetched."""
    return {**given(config["model"]), "pretrained": False, "num_classes": config["data"]["num_classes"]}
