"""The formats by name."""

from __future__ import annotations

from pathlib import Path

from ghostlab.deploy.export.coreml import CoreML
from ghostlab.deploy.export.executorch import ExecuTorch
from ghostlab.deploy.export.format import Format
from ghostlab.deploy.export.litert import LiteRT
from ghostlab.deploy.export.ncnn import Ncnn
from ghostlab.deploy.export.onnx import Onnx
from ghostlab.deploy.export.openvino import OpenVino
from ghostlab.deploy.export.torch_export import TorchExport
from ghostlab.errors import UsageError, unknown

__all__ = ["FORMATS", "format_of", "is_exported"]

FORMATS: dict[str, Format] = {
    kind.name: kind() for kind in (Onnx, TorchExport, OpenVino, Ncnn, ExecuTorch, LiteRT, CoreML)
}


def format_of(path: Path) -> Format:
    """The format of a file, by its suffix; ``UsageError`` when it is none of them."""
    for known in FORMATS.values():
        if path.name.endswith(known.files[0]):
            return known
    suffixes = ", ".join(known.files[0] for known in FORMATS.values())
    raise UsageError(f"{path}: {unknown('format', path.suffix, [])} {suffixes}")


def is_exported(path: Path) -> bool:
    """Whether the name is that of a file of one of the formats; it need not exist."""
    return path.name.endswith(tuple(known.files[0] for known in FORMATS.values()))
