"""Int8 in ONNX: every operator that ONNX Runtime computes in 8 bits, between QuantizeLinear and DequantizeLinear.

What the settings rest on is measured in docs/results/int8.md.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from ghostlab.errors import RunError
from ghostlab.files import writing

__all__ = ["static_int8"]

WEIGHTED = ("Conv", "Gemm", "MatMul")


def static_int8(model: Any, calibration: Sequence[Tensor], keep_float: Collection[str] = ()) -> Any:
    """A ``ModelProto`` with one input in int8; the range of a tensor is the mean of those in the batches.

    Weights: symmetric, one scale an output channel. Activations: unsigned, one scale a tensor, which x86 processors
    multiply with signed weights at once. ``keep_float`` are layers by the names of their weights; raises ``RunError``
    for one that the graph has not.
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
