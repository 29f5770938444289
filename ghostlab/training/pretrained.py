"""Transfer, ``model.pretrained=<run folder or checkpoint>``: a model begins with the weights of an earlier training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ghostlab.data import DataModule
from ghostlab.data.hashing import sample_seeds
from ghostlab.data.samples import preserve_random_state
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.models.checkpoints import read_weights
from ghostlab.models.weights import classifier_name, from_official, load_strictly
from ghostlab.reparam import MultiBranchConv, adopt_layout, merge_branches
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import sites
from ghostlab.reparam.norms import NormPlace
from ghostlab.runs.run import Run, find_run
from ghostlab.runs.settings import Settings
from ghostlab.training.image_checks import LeakCheck

__all__ = ["Start", "load_pretrained", "some_images", "start_from"]

SAME_NETWORK = ("pretrained", "stem_stride", "drop_rate", "drop_path_rate", "bn_momentum", "bn_eps")
"""Options of a model that its weights do not depend on."""


class Start(NamedTuple):
    """What a model began with."""

    averaged: bool
    """Whether the weights are averaged ones, which are taken where there are any."""
    new_head: bool
    """Whether the classifier kept its fresh weights, as the classes are others."""
    merged: int
    """Convolutions whose branches became one."""

    def __str__(self) -> str:
        merged = f"the branches of {self.merged} convolutions merged" if self.merged else ""
        head = "a new head for the new classes" if self.new_head else "its head"
        return ", ".join(part for part in ("averaged" if self.averaged else "", merged, f"with {head}") if part)


def start_from(
    model: nn.Module,
    source: str | Path,
    options: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    images: Callable[[], Tensor] | None = None,
) -> Start:
    """Give ``model``, as ``create_model`` made it, the weights of ``source``; in place.

    ``source`` is a run folder, one of its checkpoints, or any other file that ``load_weights`` reads. Averaged weights
    are preferred. The classifier keeps its fresh weights when the source has another number of classes, or is a run
    whose names of classes are not ``class_names``. A source with branches that the model has not is merged into the
    deployed network with its batch norms (``merge_branches``; ``images`` gives training images (B, 3, H, W), by default
    noise of the model's usual size), so that the model computes what the source, once fused, does.

    ``options`` are those that the model was made with (the ``model`` node of a configuration), to say what differs.
    Raises ``UsageError`` for a source that is not there, is fused or does not fit, ``RunError`` when it cannot be read.
    """
    run = find_run(source)
    weights, averaged = read_weights(_weights_file(source, run))
    weights = from_official(weights)
    trial = adopt_layout(copy_of(model), weights)
    if _norms_lost(trial) > _norms_lost(model):
        fused = "a fused network, without the batch norms that training needs; give its run folder"
        raise UsageError(_difference(run, options) or fused)
    head = classifier_name(model) if _other_classes(model, weights, run, class_names) else None
    try:
        load_strictly(trial, weights, "it", head)
    except RunError as error:
        raise UsageError(_difference(run, options) or str(error)) from error
    merged = _merge(trial, model, images)
    try:
        load_strictly(model, _with_biases(trial.state_dict(), model, merged), "it")
    except RunError as error:
        raise UsageError("weights without the branches of this model; its plain form may have them") from error
    return Start(bool(averaged), head is not None, len(merged))


def _weights_file(source: str | Path, run: Run | None) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError("no such run folder or checkpoint")
    if run is None:
        raise UsageError("this folder holds no run, as it has no config.yaml")
    if not run.last.is_file():
        raise RunError("no checkpoints/last.ckpt there, its first epoch is not finished")
    return run.last


def _norms_lost(model: nn.Module) -> int:
    """How many norms are folded away, besides those that moved into branches."""
    moved = sum(site.own_norms for site in sites(model).values())
    return sum(isinstance(module, NormPlace) for module in model.modules()) - moved


def _other_classes(
    model: nn.Module, weights: Mapping[str, Tensor], run: Run | None, class_names: Sequence[str] | None
) -> bool:
    head = classifier_name(model)
    theirs, ours = weights.get(f"{head}.weight"), model.state_dict().get(f"{head}.weight")
    if theirs is None or ours is None or len(theirs) != len(ours):
        return bool(head)
    names = run.config()["data"].get("class_names") if run else None
    return names is not None and class_names is not None and list(names) != list(class_names)


def _difference(run: Run | None, options: Mapping[str, Any]) -> str:
    """The first option in which the run's model is another one."""
    theirs = run.config()["model"] if run else {}
    for key in (key for key in theirs if key not in SAME_NETWORK and theirs[key] is not None):
        if theirs[key] != options.get(key):
            return f"another network, a run with model.{key}={theirs[key]} where model.{key}={options.get(key)} is here"
    return ""


def _merge(trial: nn.Module, model: nn.Module, images: Callable[[], Tensor] | None) -> list[str]:
    """Merge the branches of ``trial`` if ``model`` has none; the names of their convolutions."""
    names = list(sites(trial))
    if not names or any(isinstance(module, MultiBranchConv) for module in model.modules()):
        return []
    merge_branches(trial, images() if images else _noise(model))
    return names


def _noise(model: nn.Module) -> Tensor:
    size = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    return torch.randn(4, *size, generator=torch.Generator().manual_seed(0))


def _with_biases(weights: dict[str, Tensor], model: nn.Module, merged: Sequence[str]) -> dict[str, Tensor]:
    """A merged convolution has no bias; where the model's has one, it is 0."""
    biases = {f"{name}.bias" for name in merged}
    return {key: torch.zeros_like(value) for key, value in model.state_dict().items() if key in biases} | weights


IMAGES = 32
"""Enough to see how the branches of a convolution go together."""


def load_pretrained(model: nn.Module, settings: Settings, data: DataModule, images: LeakCheck) -> str:
    """Let a run's model begin where ``model.pretrained`` says; what that was in a line, empty if nothing was done.

    An interrupted run that goes on from its own checkpoint needs no source. Errors begin with the key and its value.
    """
    source = settings.model.get("pretrained")
    if not isinstance(source, str) or settings.resumes:
        return ""
    images.learn_from("model.pretrained", source)
    try:
        with preserve_random_state():  # a resumed run draws the same without it
            began = start_from(model, source, settings.model, data.class_names, lambda: some_images(data))
    except GhostlabError as error:
        raise type(error)(f"model.pretrained={source}: {error}") from error
    far = run.unfinished() if (run := find_run(source)) else ""
    return f"weights   of {source}, {began}" + (f"; that run is not finished ({far})" if far else "")


def some_images(data: DataModule) -> Tensor:
    """Training images (B, 3, H, W) from all over the data set, as at the end of training; the same for a seed."""
    index = np.linspace(0, data.train_size - 1, min(IMAGES, data.train_size)).astype(np.int64)
    seeds, view = sample_seeds(index, data.seed, 0), len(data.views) - 1
    keys = [(one, seed, view) for one, seed in zip(index.tolist(), seeds.tolist(), strict=True)]
    [batch] = data.listed_dataloader(lambda: iter([keys]))
    return batch.images
