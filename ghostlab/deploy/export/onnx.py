"""ONNX, run by ONNX Runtime; in int8 between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ghostlab.deploy.export.foreign_code import conversion_errors
from ghostlab.deploy.export.format import Format, Quantizer, Runner
from ghostlab.deploy.export.onnx_graph import name_axes, simplify
from ghostlab.deploy.export.program import exported_program, plain_attention
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError
from ghostlab.files import writing

__all__ = ["Onnx", "open_session", "session_runner", "static_int8", "to_onnx"]

KEY = "ghostlab"
WEIGHTED = ("Conv", "Gemm", "MatMul")


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


def static_int8(model: Any, calibration: Sequence[Tensor], keep_float: Collection[str] = ()) -> Any:
    """A ``ModelProto`` with one input in int8; the range of a tensor is the mean of those in the batches.

    Weights: symmetric, one scale an output channel. Activations: unsigned, one scale a tensor, which x86 processors
    multiply with signed weights at once. ``keep_float`` are layers by the names of their weights; raises ``RunError``
    for one that the graph has not. What the settings rest on is measured in docs/results/int8.md.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    with TemporaryDirectory() as folder, writing(Path(folder)), _unlogged():
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)  # a model that is given in memory is changed
        quantize_static(
            before,
            after,
            _reader(model.graph.input[0].name, calibration),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=float_nodes(model.graph, keep_float),
            calibrate_method=CalibrationMethod.MinMax,
            # the mean over batches: one outlier among all images does not make all steps coarse
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(after)


def float_nodes(graph: Any, layers: Collection[str]) -> list[str]:
    """Names of the nodes that are the ``layers``, and of those without weights that read nothing but such nodes."""
    wanted = {f"{name}.weight": name for name in layers}
    found: set[str] = set()
    floats: set[str] = set()
    """Tensors that no int8 node writes."""
    written = {output for node in graph.node for output in node.output}
    for node in graph.node:
        weights = wanted.keys() & {*node.input}
        found |= weights
        inputs = [name for name in node.input if name in written]
        if weights or (node.op_type not in WEIGHTED and inputs and floats.issuperset(inputs)):
            floats.update(node.output)
    missing = sorted(wanted[weight] for weight in wanted.keys() - found)
    if missing:
        raise RunError(f"--keep-float: the ONNX graph has no weights of the layer '{missing[0]}'")
    return [node.name for node in graph.node if floats.issuperset(node.output)]


def _reader(name: str, batches: Sequence[Tensor]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Hands out the batches."""

        def __init__(self) -> None:
            self.left: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            return next(({name: batch.numpy()} for batch in self.left), None)

    return Reader()


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the root logger's advice and what the calibration prints."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.setLevel(level)
