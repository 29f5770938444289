"""A run that goes on from another one: ``model.pretrained=<run folder or checkpoint>``."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from ghostlab.data import DataModule
from ghostlab.data.hashing import sample_seeds
from ghostlab.data.samples import preserve_random_state
from ghostlab.errors import GhostlabError
from ghostlab.runs.run import find_run
from ghostlab.runs.settings import Settings
from ghostlab.training.leak import Images
from ghostlab.training.pretrained import start_from

__all__ = ["some_images", "start"]

IMAGES = 32
"""Enough to see how the branches of a convolution go together."""


def start(model: nn.Module, settings: Settings, data: DataModule, images: Images) -> str:
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
