"""ONNX, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostlab.deploy.export.foreign_code import conversion_errors
from ghostlab.deploy.export.format import Format, Quantizer, Runner
from ghostlab.deploy.export.onnx_graph import name_axes, simplify
from ghostlab.deploy.export.program import exported_program, plain_attention
from ghostlab.deploy.int8.onnx_static import static_int8
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError

__all__ = ["Onnx", "open_session", "session_runner", "to_onnx"]

KEY = "ghostlab"


class Onnx(Format):
    """One file; input "images", output "logits". Its description is in ``metadata_props``."""

    name = "onnx"
    files = (".onnx",)
    block = 16

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        _save(simplify(to_onnx(network, dynamic_size)), network, path)

    def quantizer(self, network: Network, calibration: Sequence[Tensor]) -> Quantizer:
        model = simplify(to_onnx(network))
        return lambda path, keep_float: _save(static_int8(model, calibration, keep_float), network, path)

    def describe(self, path: Path) -> Description:
        return _description(open_session(path, 1), path)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        opened = open_session(path, threads)
        _description(opened, path)
        return session_runner(opened)


def to_onnx(network: Network, dynamic_size: bool = False) -> Any:
    """The lean network as an ONNX ``ModelProto``, as the exporter leaves it."""
    graph = exported_program(network, lean(network.model, Onnx.block), dynamic_size)
    with conversion_errors(Onnx.name), plain_attention():
        names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
        exported = torch.onnx.export(graph, dynamo=True, verbose=False, optimize=True, **names)
    assert exported is not None
    return exported.model_proto


def _save(model: Any, network: Network, path: Path) -> None:
    """With the description in it, and without the exporter's notes, which tell paths of the machine."""
    import onnx

    for node in name_axes(model).graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: network.description.text()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def open_session(path: Path, threads: int | None) -> Any:
    """An ``InferenceSession`` on the CPU; ``RunError`` for what is not ONNX. ``threads`` None: one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that only the runtime's C++ part knows
        raise RunError(f"{path}: ONNX Runtime cannot read it: {' '.join(str(error).split())[:160]}") from error


def _description(session: Any, path: Path) -> Description:
    return Description.parse(session.get_modelmeta().custom_metadata_map.get(KEY), path)


def session_runner(opened: Any) -> Runner:
    """An opened session of a network with one input and one output."""
    name = opened.get_inputs()[0].name
    return Runner(lambda images: torch.from_numpy(opened.run(None, {name: images.numpy()})[0]))
