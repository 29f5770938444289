"""What is asked for its latency: a name, and how a process makes something callable of it, as it would be deployed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from ghostlab.errors import RunError, UsageError
from ghostlab.models import count, create_model
from ghostlab.models.runs import find_run, open_run
from ghostlab.reparam import deployed

__all__ = ["Deployable", "Ready", "deployable"]


@dataclass(frozen=True)
class Ready:
    """A network in memory: ``call`` takes images (B, 3, image_size, image_size), float32 and channels-last."""

    call: Callable[[Tensor], object]
    form: str
    """What it is: "fused", with every branch and batch norm folded, or "as built" where there was nothing to fold."""
    image_size: int
    params: int
    macs: int


@dataclass(frozen=True)
class Deployable:
    """A name to show, and a function of no arguments (importable) that another process calls."""

    name: str
    prepare: Callable[[], Ready]


def deployable(given: str, image_size: int | None = None) -> Deployable:
    """A run folder or a checkpoint in one, or a model: a name of ``create_model``, with options after a colon.

    ``ghostnetv2:width=1.3`` is what ``create_model("ghostnetv2", width=1.3)`` makes. ``image_size`` in pixels; None:
    the model's own, which is that of a run's validation images. Raises ``UsageError`` for what is neither.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"--image-size {image_size}: must be at least 1")
    run = find_run(given)
    if run is not None:
        checkpoint = f"/{Path(given).name}" if Path(given).is_file() else ""
        name = "/".join(run.parts[-4:]) + checkpoint
        return Deployable(name, functools.partial(_of_run, Path(given), image_size))
    name, _, options = given.partition(":")
    if Path(given).exists() or "/" in name:
        raise UsageError(f"'{given}' is not a run folder or a checkpoint in one: no config.yaml there")
    return Deployable(given, functools.partial(_of_name, name, _options(given, options), image_size))


def _options(given: str, text: str) -> dict[str, Any]:
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if not all(key and value for key, _, value in pairs):
        raise UsageError(f"'{given}': options are <name>=<value>, joined by commas, as in ghostnetv2:width=1.3")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _of_name(name: str, options: dict[str, Any], image_size: int | None) -> Ready:
    model = create_model(name, **options)
    known: Any = model.pretrained_cfg
    return _ready(name, model, image_size or known["input_size"][-1])


def _of_run(path: Path, image_size: int | None) -> Ready:
    model, config = open_run(path)
    data = config["data"]
    return _ready(str(path), model, image_size or data.get("test_size") or data["image_size"])


def _ready(name: str, model: nn.Module, image_size: int) -> Ready:
    model, form = _as_deployed(model.eval())
    model = model.to(memory_format=torch.channels_last)
    try:
        counts = count(model, image_size)
    except (AssertionError, RuntimeError, ValueError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--image-size {image_size}: {name} does not take it: {cause}") from error
    return Ready(model, form, image_size, counts.params, counts.macs)


def _as_deployed(model: nn.Module) -> tuple[nn.Module, str]:
    try:
        return deployed(model), "fused"
    except RunError:  # nothing to fold
        return model, "as built"
