"""Core ML packages, which only a Mac can run; elsewhere their structure is checked."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostlab.deploy.export.attention import DoublingAttention, with_attention
from ghostlab.deploy.export.checksums import check_sha256, sha256
from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.program import MAX_BATCH
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError, UsageError

__all__ = ["CoreML", "read_spec", "write_spec"]

KEY = "ghostlab"
SUM = "ghostlab_sha256"
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")

PROGRAM = Path("Data/com.apple.CoreML/model.mlmodel")


class CoreML(Format):
    """A folder; input "images", output "logits". Its description is in ``user_defined_metadata``. iOS 17, macOS 14."""

    name = "coreml"
    files = (".mlpackage",)

    @property
    def runs_here(self) -> bool:
        return platform.system() == "Darwin"

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        model = with_attention(lean(network.model, self.block), DoublingAttention)
        with conversion_errors(self.name):
            _converted(model, network.example[:1]).save(str(path))
            spec = read_spec(path)
            metadata = spec.description.metadata.userDefined
            metadata[KEY] = network.description.text()
            metadata[SUM] = sha256((path / WEIGHTS).read_bytes())
            write_spec(path, spec)

    def describe(self, path: Path) -> Description:
        with reading_errors(path, "coremltools"):
            metadata = read_spec(path).description.metadata.userDefined
            text, expected = metadata.get(KEY), metadata.get(SUM)
        description = Description.parse(text, path)
        check_sha256(path / WEIGHTS, expected, path)
        return description

    def open(self, path: Path, threads: int | None = None) -> Runner:
        self.describe(path)
        if not self.runs_here:
            raise UsageError(f"{path}: Core ML runs on macOS only, not on {platform.system()}")
        with reading_errors(path, "Core ML"):
            import coremltools

            model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)
        return Runner(lambda images: torch.from_numpy(model.predict({"images": images.numpy()})["logits"]))

    def check_structure(self, path: Path, network: Network) -> str:
        side, classes = network.description.image_size, len(network.description.class_names)
        layers = Counter(type(module) for module in lean(network.model, self.block).modules())
        wanted = {
            "inputs": [("images", ("B", 3, side, side), "float32")],
            "outputs": [("logits", ("B", classes), "float32")],
            "convolutions": layers[nn.Conv2d],
            "linear layers": layers[nn.Linear],
        }
        with reading_errors(path, "coremltools"):
            found = spec_facts(read_spec(path))
        for fact, value in found.items():
            if value != wanted[fact]:
                raise RunError(f"{path}: {fact}: {value}, not {wanted[fact]}")
        counts = f"{found['convolutions']} convolutions, {found['linear layers']} linear"
        return f"not run, which only macOS can; as it should have: images, {classes} logits, {counts}"


def _converted(model: nn.Module, image: torch.Tensor) -> Any:
    import coremltools as ct

    with torch.no_grad():
        traced = torch.jit.trace(model, image, check_trace=False)
    shape = ct.Shape((ct.RangeDim(1, MAX_BATCH, 1), *image.shape[1:]))
    return ct.convert(
        traced,
        inputs=[ct.TensorType("images", shape)],
        outputs=[ct.TensorType("logits")],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )


def read_spec(package: Path) -> Any:
    """The protobuf ``Model`` in a package; raises what reading and parsing do."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((package / PROGRAM).read_bytes())
    return spec


def write_spec(package: Path, spec: Any) -> None:
    """Replace it."""
    (package / PROGRAM).write_bytes(spec.SerializeToString())


def spec_facts(spec: Any) -> dict[str, Any]:
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
