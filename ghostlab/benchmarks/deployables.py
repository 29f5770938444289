"""What is asked for its latency: a name, and how a process makes something callable of it, as it would be deployed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import open_network, top1_of_fused
from ghostlab.errors import UsageError
from ghostlab.models import count, create_model
from ghostlab.reparam import NothingToFoldError, deployed
from ghostlab.runs.run import find_run, open_run

__all__ = [
    "EAGER",
    "Deployable",
    "FoldedNetwork",
    "LoadedNetwork",
    "as_deployed",
    "deployable",
    "find_folded",
    "read_options",
]

EAGER = "eager"
FUSED, AS_BUILT = "fused", "as built"
"""Forms of a network."""

FOLDED_BY = ("ghostlab", "timm")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in memory: ``call`` takes images (B, 3, image_size, image_size), float32."""

    call: Callable[[Tensor], object]
    form: str
    """What it is: "fused", with every branch and batch norm folded; "lean", a GhostNet whose folded network is written
    with fewer operations; "as built" where there was nothing to fold; "file"; "..., batch 1" where it takes one image
    at a time."""
    image_size: int
    params: int | None
    """Of the folded network, as ``macs`` are; None: not known."""
    macs: int | None
    load: float = 0.0
    """Seconds that it took to build it, or to read its file."""


@dataclass(frozen=True)
class Deployable:
    """A name to show, and a function of no arguments (importable) that another process calls."""

    name: str
    prepare: Callable[[], LoadedNetwork]
    runtime: str = EAGER
    """"eager", or the name of one of ``FORMATS``; for "eager" images are channels-last."""
    top1: float | None = None
    """In percent on its validation images; None: not known."""


@dataclass(frozen=True)
class FoldedNetwork:
    """A network that has a name, and how to fold it: ``build()`` gives the model in evaluation mode, its form and the
    size of its images in pixels."""

    name: str
    build: Callable[[], tuple[nn.Module, str, int]]
    top1: float | None = None


def deployable(given: str, image_size: int | None = None) -> Deployable:
    """What ``find_folded`` finds, to be run by PyTorch without a compiler."""
    found = find_folded(given, image_size)
    return Deployable(found.name, functools.partial(_ready, found), top1=found.top1)


def find_folded(given: str, image_size: int | None = None) -> FoldedNetwork:
    """A run folder or a checkpoint in one, what ``tools/fuse.py`` wrote, or a model: a name of ``create_model``, with
    options after a colon.

    ``ghostnetv2:width=1.3`` is what ``create_model("ghostnetv2", width=1.3)`` makes; with ``folded_by=timm`` it is
    folded by timm's ``reparameterize_model``, which leaves what it does not know. ``image_size`` in pixels; None: the
    model's own, which is that of a run's validation images. Raises ``UsageError`` for what is none of these.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"--image-size {image_size}: must be at least 1")
    path = Path(given)
    if path.is_file() and path.name.startswith("fused."):
        top1 = top1_of_fused(path)
        return FoldedNetwork(given, functools.partial(_of_fused, path, image_size), top1)
    run = find_run(given)
    if run is not None:
        checkpoint = f"/{path.name}" if path.is_file() else ""
        top1 = None if checkpoint else (run.result() or {}).get("top1")
        return FoldedNetwork(
            "/".join(run.folder.parts[-4:]) + checkpoint, functools.partial(_of_run, path, image_size), top1
        )
    name, _, options = given.partition(":")
    if path.exists() or "/" in name:
        raise UsageError(f"'{given}' is not a run folder or a checkpoint in one: no config.yaml there")
    chosen = read_options(given, options)
    folded_by = str(chosen.pop("folded_by", FOLDED_BY[0]))
    if folded_by not in FOLDED_BY:
        raise UsageError(f"'{given}': folded_by={folded_by}; allowed: {', '.join(FOLDED_BY)}")
    return FoldedNetwork(given, functools.partial(_of_name, name, chosen, folded_by, image_size))


def read_options(given: str, text: str) -> dict[str, Any]:
    """``width=1.3,num_classes=7`` as arguments of ``create_model``; errors name ``given``."""
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if not all(key and value for key, _, value in pairs):
        raise UsageError(f"'{given}': options are <name>=<value>, joined by commas, as in ghostnetv2:width=1.3")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _of_name(name: str, options: dict[str, Any], folded_by: str, image_size: int | None) -> tuple[nn.Module, str, int]:
    model = create_model(name, **options).eval()
    known: Any = model.pretrained_cfg
    folded = as_deployed(model) if folded_by == "ghostlab" else (reparameterize_model(model).eval(), "by timm")
    return *folded, image_size or known["input_size"][-1]


def _of_run(path: Path, image_size: int | None) -> tuple[nn.Module, str, int]:
    model, config = open_run(path)
    own = config["data"].get("test_size") or config["data"]["image_size"]
    return *as_deployed(model, own), image_size or own


def _of_fused(path: Path, image_size: int | None) -> tuple[nn.Module, str, int]:
    network = open_network(path)
    return network.model, FUSED if network.folded else AS_BUILT, image_size or network.description.image_size


def _ready(found: FoldedNetwork) -> LoadedNetwork:
    began = time.perf_counter()
    model, form, image_size = found.build()
    leaner = lean(model)
    call = leaner.to(memory_format=torch.channels_last)
    load = time.perf_counter() - began
    try:
        counts = count(model, image_size)
    except UsageError as error:
        raise UsageError(f"--image-size {image_size}: {found.name}: {error}") from error
    return LoadedNetwork(call, form if leaner is model else "lean", image_size, counts.params, counts.macs, load)


def as_deployed(model: nn.Module, image_size: int | None = None) -> tuple[nn.Module, str]:
    """The model without its branches and batch norms, not proven, and its form; ``image_size`` as for ``fuse``."""
    try:
        return deployed(model, torch.zeros(2, 3, image_size, image_size) if image_size else None), FUSED
    except NothingToFoldError:
        return model, AS_BUILT
