"""From a network to files of several formats: written, run, compared, and only then put in their places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ghostlab.deploy.export.check import TOLERANCE, Reference, RuntimeComparison
from ghostlab.deploy.export.foreign_code import inference_errors
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.staging import ExportedFile, staged
from ghostlab.deploy.int8.quantize import Int8Result, calibration_images, quantize_to_file
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError, UsageError
from ghostlab.files import writing

__all__ = ["Int8", "export", "export_int8"]


@dataclass(frozen=True)
class Int8:
    """How int8 files are made: from so many training ``images``, with which layers kept in float32.

    ``keep_float``: patterns of names, or "auto" for as few as keep top-1 within ``max_drop`` percentage points.
    """

    images: int = 256
    keep_float: Sequence[str] | Literal["auto"] = ()
    max_drop: float = 1.0

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UsageError(f"--calibration {self.images}: must be at least 1")
        if not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop {self.max_drop:g}: percentage points, from 0 to 100")


def export(form: Format, network: Network, reference: Reference, out: Path, dynamic_size: bool = False) -> ExportedFile:
    """Write ``network`` as a file of one format in ``out``, run it, and note what was found in ``export.json`` there.

    Raises ``RunError``, with nothing written, when its answers are not those of PyTorch.
    """
    with staged(form, out) as place:
        with writing(out):
            form.convert(network, place.path, dynamic_size)
        if not form.runs_here:
            return place.commit(remark=form.check_structure(place.path, network))
        with inference_errors(form.name):
            found = reference.compare(form.open(place.path), form.name)
        if not found.agrees:
            raise RunError(
                f"{form.name}: its answers differ from PyTorch's by {found.difference:.1e} of the largest"
                f" (allowed: {TOLERANCE:.0e}); nothing written"
            )
        return place.commit(found)


def export_int8(form: Format, network: Network, reference: Reference, out: Path, how: Int8) -> ExportedFile:
    """As ``export``, in int8, where the answers do differ: what counts is the loss of top-1, so data is needed."""
    data, top1 = reference.data, reference.top1
    if data is None or top1 is None:
        raise UsageError("--int8: needs the run's images, to calibrate and to count what is lost")
    images = calibration_images(data, how.images)

    compared: list[RuntimeComparison] = []

    def score(runner: Runner) -> float:
        with inference_errors(f"{form.name} int8"):
            compared.append(reference.compare(runner, f"{form.name} int8"))
        return compared[-1].top1 or 0.0

    with staged(form, out, "int8") as place:
        result = quantize_to_file(form, network, place.path, images, score, top1, how.keep_float, how.max_drop)
        found = compared[[trial.kept for trial in result.trials].index(result.kept)]
        return place.commit(found, int8={"same_class": found.same_class, **_plain(result, sum(map(len, images)))})


def _plain(result: Int8Result, images: int) -> dict[str, Any]:
    """What was found, as JSON has it, which knows no infinite number."""
    losses = {one.name: round(one.sqnr, 2) if math.isfinite(one.sqnr) else None for one in result.layers}
    trials = [{"kept": len(trial.kept), "top1": trial.top1} for trial in result.trials]
    facts = {"drop": result.drop, "calibration_images": images, "kept_float": list(result.kept)}
    return {**facts, "trials": trials, "sqnr_db": losses}
