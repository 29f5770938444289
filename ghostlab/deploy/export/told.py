"""What is said about a file that was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ghostlab.deploy.export.check import Reference
from ghostlab.deploy.export.place import Written

__all__ = ["told", "told_int8"]

WORST = 5
"""Layers that are named."""


def told(written: Written) -> str:
    """``onnx           model.onnx (5.1 MB)   onnxruntime 1.32.0   largest difference 3.6e-07   top-1 88.40``."""
    file = f"{written.key:<18} {written.file} ({written.bytes / 1e6:.1f} MB)   {written.runtime}"
    if written.difference is None:
        return f"{file}   {written.remark}"
    scored = "" if written.top1 is None else f"   top-1 {written.top1:.2f}"
    return f"{file}   largest difference {written.difference:.1e}{scored}"


def told_int8(written: Written, reference: Reference) -> str:
    """As ``told``, with what int8 lost, where, and which layers were kept from it."""
    assert written.int8 is not None and reference.top1 is not None and written.top1 is not None
    lines = [f"{told(written)} ({written.top1 - reference.top1:+.2f})"]
    lines += [f"  {line}" for line in _layers(written.int8)]
    return "\n".join(lines)


def _layers(int8: Mapping[str, Any]) -> list[str]:
    worst = ", ".join(f"{name} ({loss:.1f} dB)" for name, loss in int8["worst"][:WORST])
    kept = int8["kept"]
    lines = [f"lose most: {worst}"]
    for trial in int8["trials"][:-1]:
        lines.append(f"with {trial['kept']} layers in float32: top-1 {trial['top1']:.2f}")
    return [*lines, f"kept in float32: {', '.join(kept) or 'none'}"]
