"""From what a user names to contestants: networks, exported files, and files that are made for a measurement."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ghostlab.benchmarks.deployables import (
    EAGER,
    Deployable,
    FoldedNetwork,
    LoadedNetwork,
    as_deployed,
    deployable,
    find_folded,
    read_options,
)
from ghostlab.deploy.export.format import Runner
from ghostlab.deploy.export.formats import FORMATS, format_of, is_exported
from ghostlab.deploy.export.onnx import open_session, session_runner
from ghostlab.deploy.export.staging import read_report
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError, UsageError, unknown
from ghostlab.models import Counts, count, create_model
from ghostlab.models.options import ALLOWED
from ghostlab.runs.run import find_run
from ghostlab.terminal import tracked

__all__ = ["contestants", "core_count", "export", "file_deployable", "input_of"]

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bicubic", "crop_pct": 0.875}
"""What the description of a file says that is deleted after the measurement."""

Opening = Callable[[Path, int], Runner]


class ImageInput(NamedTuple):
    """Images (B, 3, size, size), float32; ``batch``: the only B there can be, None for any."""

    size: int
    batch: int | None


def contestants(
    names: Sequence[str], runtimes: Sequence[str], image_size: int | None, folder: Path
) -> list[Deployable]:
    """Each file once, in its own runtime; each model and run in each of ``runtimes``, exported into ``folder``.

    Raises ``UsageError`` for names, runtimes and sizes that do not fit, or that are not installed, before anything is
    exported.
    """
    for runtime in runtimes:
        _require_runtime(runtime)
    files = {name: file_deployable(name, image_size) for name in names if is_exported(Path(name))}
    pairs = [(name, runtime) for name in names if name not in files for runtime in runtimes]
    exports = [pair for pair in pairs if pair[1] != EAGER]
    found = {pair[0]: find_folded(pair[0], image_size) for pair in exports}
    made: dict[tuple[str, str], Deployable] = {}
    for k, pair in enumerate(tracked(exports, "exporting")):
        made[pair] = export(found[pair[0]], pair[1], folder / str(k))
    made |= {(name, EAGER): deployable(name, image_size) for name, runtime in pairs if runtime == EAGER}
    return [one for name in names for one in ([files[name]] if name in files else [made[name, r] for r in runtimes])]


def core_count() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def file_deployable(given: str, image_size: int | None = None) -> Deployable:
    """An exported file in the runtime of its format; an ONNX file may be of any origin.

    ``image_size`` is for a file that takes images of any size, and must else be the file's own. Raises ``UsageError``
    and ``RunError`` as the format does, and for files that take something else than images.
    """
    path = Path(given)
    if not path.exists():
        raise UsageError(f"'{given}': no such file")
    kind = format_of(path)
    kind.require()
    takes, counts, opening = _description(path, image_size)
    run = find_run(path)
    name = "/".join([*run.folder.parts[-4:], *path.resolve().relative_to(run.folder).parts]) if run else given
    prepare = functools.partial(_of_file, path, opening, "file", takes, counts)
    return Deployable(name, prepare, kind.name, _top1(path))


def export(found: FoldedNetwork, runtime: str, path: Path) -> Deployable:
    """Write the folded network to ``path`` without its suffix, as a file of a format; its weights are not looked at."""
    kind = FORMATS[runtime]
    model, form, size = found.build()
    for module in model.modules():
        module.requires_grad_(False)
    with torch.inference_mode():
        classes = range(model(torch.zeros(1, 3, size, size)).shape[1])
    architecture = " ".join(found.name.replace(":", ",").split(","))
    description = Description(architecture, tuple(map(str, classes)), {"input_size": [3, size, size], **IMAGENET})
    file = path.with_name(path.name + kind.files[0])
    kind.convert(Network(model, description, None), file)
    takes = ImageInput(size, None if kind.dynamic_batch else 1)
    form = form if lean(model) is model else "lean"
    prepare = functools.partial(_of_file, file, kind.open, form, takes, count(model, size))
    return Deployable(f"{found.name} ({runtime})", prepare, runtime, found.top1)


def input_of(path: Path, image_size: int | None = None) -> ImageInput:
    """The one input of the network in a file; ``image_size`` in pixels where the file leaves it open.

    Raises ``RunError`` for what is not ONNX, and ``UsageError`` for other inputs, for batches of more than one image
    alone, and for a size that is not the file's or not known.
    """
    inputs = open_session(path, 1).get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
    if len(shape) != 4 or shape[1] != 3 or (isinstance(shape[0], int) and shape[0] != 1):
        given = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise UsageError(f"{path}: takes {given}; expected one input, float images (1 or any, 3, H, W)")
    return ImageInput(_side(path, shape[2:], image_size), shape[0] if isinstance(shape[0], int) else None)


def _open_foreign(path: Path, threads: int | None = None) -> Runner:
    """The network in a file without a description; raises ``RunError`` for what is not ONNX."""
    return session_runner(open_session(path, threads))


def _side(path: Path, sides: list[int | str | None], image_size: int | None) -> int:
    known = {side for side in sides if isinstance(side, int)}
    if len(known) > 1:
        raise UsageError(f"{path}: takes images of {sides[0]} x {sides[1]} px; expected as many rows as columns")
    if known and image_size not in (None, *known):
        raise UsageError(f"--image-size {image_size}: {path} is for {min(known)} px")
    if not known and image_size is None:
        raise UsageError(f"{path}: takes images of any size; say of which with --image-size")
    return image_size or min(known)


def _description(path: Path, image_size: int | None) -> tuple[ImageInput, Counts | None, Opening]:
    kind = format_of(path)
    try:
        description = kind.describe(path)
    except RunError:
        if kind.name != "onnx":
            raise
        return input_of(path, image_size), None, _open_foreign
    size = description.image_size
    if image_size not in (None, size):
        raise UsageError(f"--image-size {image_size}: {path} is for {size} px")
    return ImageInput(size, None if kind.dynamic_batch else 1), _counts(description), kind.open


def _counts(description: Description) -> Counts | None:
    """Those of the network of that name; None where it does not build one."""
    name, *options = description.architecture.split()
    with suppress(UsageError, RuntimeError, TypeError, ValueError):
        given = read_options(name, ",".join(options))
        # No path and no address out of a file is followed.
        if given.keys() <= ALLOWED.keys() - {"pretrained"}:
            model = create_model(name, **{"num_classes": len(description.class_names), **given, "layout": "training"})
            return count(as_deployed(model, description.image_size)[0], description.image_size)
    return None


def _of_file(path: Path, opening: Opening, form: str, takes: ImageInput, counts: Counts | None) -> LoadedNetwork:
    began = time.perf_counter()
    call = opening(path, torch.get_num_threads())
    load = time.perf_counter() - began
    if takes.batch == 1:
        form += ", batch 1"
    params, macs = counts or (None, None)
    return LoadedNetwork(
        functools.partial(_one_by_one, call) if takes.batch == 1 else call, form, takes.size, params, macs, load
    )


def _one_by_one(call: Callable[[Tensor], object], images: Tensor) -> object:
    return [call(image) for image in images.split(1)]


def _top1(path: Path) -> float | None:
    """What ``tools/export.py`` found the file's to be."""
    with suppress(ValueError, KeyError, TypeError):
        return next((float(one["top1"]) for one in read_report(path.parent).values() if one["file"] == path.name), None)
    return None


def _require_runtime(runtime: str) -> None:
    if runtime == EAGER:
        return
    if runtime not in FORMATS:
        raise UsageError(f"--runtime {runtime}: {unknown('runtime', runtime, [EAGER, *FORMATS])}")
    FORMATS[runtime].require()
    if not FORMATS[runtime].runs_here:
        raise UsageError(f"--runtime {runtime}: its files do not run on this machine")
