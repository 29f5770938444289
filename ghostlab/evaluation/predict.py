"""What a deployed network says about images: any file of it, in its own runtime, with its own preprocessing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ghostlab.data.folder import READABLE
from ghostlab.data.sources import UnreadableError, read_image
from ghostlab.data.transforms import preprocess
from ghostlab.data.walk import LeftOut
from ghostlab.data.walk import find_images as walk
from ghostlab.deploy.export.formats import FORMATS, format_of, is_exported
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, open_network
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.files import shown
from ghostlab.runs.run import find_run

__all__ = ["Prediction", "Predictor", "find_images", "open_classifier"]

EMPTY = f"no images in this folder; read are {READABLE}"


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image with their probabilities in [0, 1], or why it cannot be read."""

    image: str
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Predictor:
    """An opened network: ``model`` takes images (B, 3, H, W) as its description says, and gives logits."""

    source: str
    model: nn.Module
    description: Description

    def predict(self, images: Sequence[str], top: int = 5, batch: int = 32) -> Iterator[Prediction]:
        """About each image file in turn, of ``batch`` at a time. Raises ``RunError`` when the network fails."""
        transform = preprocess(self.description.preprocessing)
        for start in range(0, len(images), batch):
            read: dict[str, Tensor] = {}
            errors: dict[str, str] = {}
            for image in images[start : start + batch]:
                try:
                    read[image] = transform(read_image(image))
                except UnreadableError as error:
                    errors[image] = error.reason
                except Exception as error:  # what one image leads to is not for the others to bear
                    errors[image] = " ".join(str(error).split()) or type(error).__name__
            found = dict(zip(read, self._top(torch.stack([*read.values()]), top), strict=True)) if read else {}
            for image in images[start : start + batch]:
                yield Prediction(image, found.get(image, ()), errors.get(image, ""))

    def _top(self, images: Tensor, count: int) -> list[tuple[tuple[str, float], ...]]:
        names = self.description.class_names
        best = self._probabilities(images).topk(min(count, len(names)))
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [tuple((names[index], value) for index, value in zip(*row, strict=True)) for row in rows]

    def _probabilities(self, images: Tensor) -> Tensor:
        try:
            with torch.inference_mode():
                logits = self.model(images)
        except GhostlabError:
            raise
        except Exception as error:  # whatever a runtime raises over a file that it could open
            cause = " ".join(str(error).split())[:160] or type(error).__name__
            raise RunError(f"{self.source}: its network cannot be run: {cause}") from error
        wanted = (len(images), len(self.description.class_names))
        if tuple(logits.shape) != wanted or not logits.isfinite().all():
            found = " x ".join(map(str, logits.shape))
            raise RunError(f"{self.source}: answers {found} numbers; expected {wanted[0]} x {wanted[1]} finite ones")
        return logits.float().softmax(1)


def open_classifier(source: str | Path) -> Predictor:
    """An exported file, what ``tools/fuse.py`` wrote, a run folder, or a checkpoint in one.

    Raises ``UsageError`` for what is none of these or needs packages that are not installed, and ``RunError`` for files
    that are damaged or of another origin.
    """
    path = Path(source)
    if not path.exists():
        raise UsageError(f"'{source}': no such file")
    if is_exported(path):
        kind = format_of(path)
        kind.require()
        description = kind.describe(path)
        return Predictor(str(source), kind.open(path), description)
    if not path.name.startswith("fused.") and find_run(path) is None:
        suffixes = ", ".join(known.files[0] for known in FORMATS.values())
        raise UsageError(
            f"'{source}': not a network; expected a file that ends in {suffixes}, a fused.safetensors, or a run folder"
        )
    network = open_network(path)
    return Predictor(str(source), lean(network.model).to(memory_format=torch.channels_last), network.description)


def find_images(given: Sequence[str], left_out: LeftOut) -> tuple[list[str], list[Prediction]]:
    """Image files, and those in folders and all folders below them, sorted, each real file once; and what is to be said
    of folders without images. What is not taken is added to ``left_out``.

    A file that does not exist is in the list, for whoever reads it to say so. Raises ``UsageError`` where nothing
    exists or all folders are without images.
    """
    if not any(Path(name).exists() for name in given):
        raise UsageError(f"'{shown(given[0])}': no such file or folder")
    names = list(dict.fromkeys(given))
    found = walk(names, left_out)
    images = [image for part in found.images for image in part]
    bare = [name for name, part in zip(names, found.images, strict=True) if not part and not _holds(name, images)]
    if not images:
        raise UsageError(f"'{shown(bare[0])}': {EMPTY}")
    return images, [Prediction(name, error=EMPTY) for name in bare]


def _holds(folder: str, images: Sequence[str]) -> bool:
    """Whether one of the images, which was found in another folder, lies in this one, too."""
    path = os.path.realpath(folder)
    return any(os.path.commonpath([path, os.path.realpath(image)]) == path for image in images)
