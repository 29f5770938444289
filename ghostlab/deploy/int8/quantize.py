"""A network in int8 as a file, with what that cost and which layers stayed in float32."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor

from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.int8.auto import PrecisionTrial, fewest
from ghostlab.deploy.int8.sensitivity import LayerLoss, sensitivity, weighted
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Network
from ghostlab.errors import UsageError, nearest
from ghostlab.files import writing

__all__ = ["Int8Result", "quantized"]

RANKED_ON = 32
"""Images that the layers are ranked on."""


@dataclass(frozen=True)
class Int8Result:
    """Top-1 in percent of the file and what it lost of that in float32, in percentage points."""

    top1: float
    drop: float
    kept: tuple[str, ...]
    """Layers in float32."""
    trials: tuple[PrecisionTrial, ...]
    """All that was measured, in order."""
    layers: tuple[LayerLoss, ...]
    """What each layer loses alone, the worst first."""


def quantized(
    form: Format,
    network: Network,
    path: Path,
    calibration: Sequence[Tensor],
    score: Callable[[Runner], float],
    float_top1: float,
    keep_float: Sequence[str] | Literal["auto"],
    max_drop: float,
) -> Int8Result:
    """Write the network in int8 to ``path`` and score it: ``score`` gives the top-1 in percent of an opened file.

    ``keep_float``: patterns of names of layers that stay in float32, or "auto" for the fewest with which at most
    ``max_drop`` percentage points are lost. Raises ``UsageError`` for a pattern that no layer has and for a format
    without int8; ``RunError``, with nothing written, where no choice of layers holds ``max_drop``.
    """
    by_hand = None if keep_float == "auto" else matching(keep_float, list(weighted(network.model)))
    write = form.quantizer(network, calibration)
    layers = sensitivity(lean(network.model), torch.cat(list(calibration))[:RANKED_ON])
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:

        def top1(kept: Sequence[str]) -> float:
            file = _place(Path(folder), kept) / path.name
            with writing(path.parent):
                write(file, kept)
            return score(form.open(file))

        if by_hand is None:
            chosen, trials = fewest([layer.name for layer in layers], top1, float_top1 - max_drop)
        else:
            chosen = PrecisionTrial(tuple(by_hand), top1(by_hand))
            trials = [chosen]
        for file in _place(Path(folder), chosen.kept).iterdir():
            file.replace(path.parent / file.name)
    return Int8Result(chosen.top1, float_top1 - chosen.top1, chosen.kept, tuple(trials), tuple(layers))


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that any pattern matches; ``UsageError`` for a pattern that matches none."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise UsageError(
                f"--keep-float={pattern}: no convolution or linear layer has that name{nearest(pattern, names)}"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _place(folder: Path, kept: Sequence[str]) -> Path:
    """Where a trial's files are: trials differ in how many layers are kept."""
    place = folder / str(len(kept))
    place.mkdir(exist_ok=True)
    return place
