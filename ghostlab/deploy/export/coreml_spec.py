"""What a Core ML package says that it computes, read without Core ML, which only a Mac has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "facts", "read_spec", "write_spec"]

PROGRAM = Path("Data/com.apple.CoreML/model.mlmodel")


def read_spec(package: Path) -> Any:
    """The protobuf ``Model`` in a package; raises what reading and parsing do."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((package / PROGRAM).read_bytes())
    return spec


def write_spec(package: Path, spec: Any) -> None:
    """Replace it."""
    (package / PROGRAM).write_bytes(spec.SerializeToString())


def facts(spec: Any) -> dict[str, Any]:
    """Its ``inputs`` and ``outputs``, as (name, shape, type), and how many ``convolutions`` and ``linear layers``."""
    main = spec.mlProgram.functions["main"]
    block = main.block_specializations[main.opset]
    kinds = Counter(operation.type for operation in block.operations)
    made = {output.name: output.type.tensorType for operation in block.operations for output in operation.outputs}
    return {
        "inputs": [(value.name, *_tensor(value.type.tensorType)) for value in main.inputs],
        "outputs": [(name, *_tensor(made[name])) for name in block.outputs],
        "convolutions": kinds["conv"],
        "linear layers": kinds["linear"],
    }


def _tensor(kind: Any) -> tuple[tuple[int | str, ...], str]:
    """Its shape, with "B" for a side that may vary, and the name of its numbers' type."""
    from coremltools.proto import MIL_pb2

    sides = (d.constant.size if d.WhichOneof("dimension") == "constant" else "B" for d in kind.dimensions)
    return tuple(sides), MIL_pb2.DataType.Name(kind.dataType).lower()
