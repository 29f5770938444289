"""The formats by name: what each needs and can do, known before torch is imported; and what of a wish can be done."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ghostlab.errors import UsageError, unknown

__all__ = ["CATALOG", "ExportJob", "FormatEntry", "missing_packages", "plan_exports"]


class FormatEntry(NamedTuple):
    """What one format needs and can do."""

    extra: str
    """The optional dependencies of this package: ``pip install 'ghostlab[<extra>]'``."""
    packages: tuple[str, ...]
    """Names of what is imported, of which the last is the runtime."""
    dynamic_size: bool = False
    """Whether a file can be written that takes images of any size."""
    int8: bool = False


CATALOG = {
    "onnx": FormatEntry("onnx", ("onnx", "onnxscript", "onnxruntime"), dynamic_size=True, int8=True),
    "torch_export": FormatEntry("", ("torch",), dynamic_size=True),
    "openvino": FormatEntry("openvino", ("openvino",), dynamic_size=True),
    "ncnn": FormatEntry("ncnn", ("pnnx", "ncnn")),
    "executorch": FormatEntry("executorch", ("torchao", "executorch"), int8=True),
    "litert": FormatEntry("litert", ("litert_torch", "ai_edge_litert")),
    "coreml": FormatEntry("coreml", ("coremltools",)),
}


class ExportJob(NamedTuple):
    """A file to write."""

    format: str
    int8: bool

    def __str__(self) -> str:
        return f"{self.format} int8" if self.int8 else self.format


def missing_packages(name: str, entry: FormatEntry) -> str:
    """What is not installed and how to install it, in one line; empty when all is there."""
    missing = [package for package in entry.packages if importlib.util.find_spec(package) is None]
    if not missing:
        return ""
    verb = "is" if len(missing) == 1 else "are"
    return f"--to {name}: {', '.join(missing)} {verb} not installed; pip install 'ghostlab[{entry.extra}]'"


def plan_exports(to: str, dynamic: bool, int8: bool) -> tuple[list[ExportJob], dict[ExportJob, str]]:
    """The files of the formats ``to`` (joined by commas), in order: those that can be written, and why others cannot.

    Raises ``UsageError`` for a name that does not exist, and when nothing of what was asked for can be done.
    """
    for name in to.split(","):
        if name not in CATALOG:
            raise UsageError(f"--to {to}: {unknown('format', name, CATALOG)}")
    names = list(dict.fromkeys(to.split(",")))
    unfit = _unfit("--size dynamic", names, lambda entry: entry.dynamic_size) if dynamic else {}
    unable = _unfit("--int8", names, lambda entry: entry.int8) if int8 else {}
    jobs = [ExportJob(name, precision) for name in names for precision in ((False, True) if int8 else (False,))]
    reasons = {
        job: missing_packages(job.format, CATALOG[job.format])
        or unfit.get(job.format, "")
        or (unable.get(job.format, "") if job.int8 else "")
        for job in jobs
    }
    if all(reasons.values()):
        raise UsageError("; ".join(dict.fromkeys(reasons.values())))
    return [job for job in jobs if not reasons[job]], {job: reason for job, reason in reasons.items() if reason}


def _unfit(option: str, names: Sequence[str], able: Callable[[FormatEntry], bool]) -> dict[str, str]:
    """Why the option is not for some of the formats; ``UsageError`` when it is for none of them."""
    unable = [name for name in names if not able(CATALOG[name])]
    allowed = ", ".join(name for name, entry in CATALOG.items() if able(entry))
    if unable == names:
        raise UsageError(f"{option}: not for {', '.join(unable)}; allowed: {allowed}")
    return {name: f"{option}: not for {name}; allowed: {allowed}" for name in unable}
