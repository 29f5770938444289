"""What an ONNX file of another origin takes, as ONNX Runtime reads it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ghostlab.deploy.export.format import Runner
from ghostlab.deploy.export.onnx import running, session
from ghostlab.errors import UsageError

__all__ = ["Input", "input_of", "open_foreign"]


class Input(NamedTuple):
    """Images (B, 3, size, size), float32; ``batch``: the only B there can be, None for any."""

    size: int
    batch: int | None


def input_of(path: Path, image_size: int | None = None) -> Input:
    """The one input of the network in a file; ``image_size`` in pixels where the file leaves it open.

    Raises ``RunError`` for what is not ONNX, and ``UsageError`` for other inputs, for batches of more than one image
    alone, and for a size that is not the file's or not known.
    """
    inputs = session(path, 1).get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
    if len(shape) != 4 or shape[1] != 3 or (isinstance(shape[0], int) and shape[0] != 1):
        given = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise UsageError(f"{path}: takes {given}; expected one input, float images (1 or any, 3, H, W)")
    return Input(_size(path, shape[2:], image_size), shape[0] if isinstance(shape[0], int) else None)


def open_foreign(path: Path, threads: int | None = None) -> Runner:
    """The network in a file without a description; raises ``RunError`` for what is not ONNX."""
    return running(session(path, threads))


def _size(path: Path, sides: list[int | str | None], wanted: int | None) -> int:
    known = {side for side in sides if isinstance(side, int)}
    if len(known) > 1:
        raise UsageError(f"{path}: takes images of {sides[0]} x {sides[1]} px; expected as many rows as columns")
    if known and wanted not in (None, *known):
        raise UsageError(f"--image-size {wanted}: {path} is for {min(known)} px")
    if not known and wanted is None:
        raise UsageError(f"{path}: takes images of any size; say of which with --image-size")
    return wanted or min(known)
