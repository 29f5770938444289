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
    """As ``told``, with what int8 lost, which layers lose most, and which were kept from it."""
    assert written.int8 is not None and reference.top1 is not None and written.top1 is not None
    lost = f"({written.top1 - reference.top1:+.2f})   the same class for {written.int8['same_class']:.1f} %"
    return "\n".join([f"{told(written)} {lost}", *_layers(written.int8)])


def _layers(int8: Mapping[str, Any]) -> list[str]:
    losses = [(name, loss) for name, loss in int8["sqnr_db"].items() if loss is not None]
    worst = ", ".join(f"{name} ({loss:.0f} dB)" for name, loss in losses[:WORST])
    kept, trials = int8["kept_float"], int8["trials"]
    tried = ", ".join(f"{trial['top1']:.2f} with {trial['kept']}" for trial in trials)
    return [
        f"  lose most, signal to noise of the answers where each alone is in int8: {worst}",
        *([f"  top-1 by layers kept in float32: {tried}"] if len(trials) > 1 else []),
        f"  kept in float32: {', '.join(kept) or 'none'}",
    ]
