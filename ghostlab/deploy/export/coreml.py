"""Core ML packages, which only a Mac can run; elsewhere their structure is checked."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ghostlab.deploy.export.catalog import CATALOG
from ghostlab.deploy.export.coreml_spec import facts, read_spec, write_spec
from ghostlab.deploy.export.doubling import doubling
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.parts import check_part, digest
from ghostlab.deploy.export.program import MOST
from ghostlab.deploy.export.silence import converting, reading
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError, UsageError

__all__ = ["CoreML"]

KEY = "ghostlab"
SUM = "ghostlab_sha256"
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


class CoreML(Format):
    """A folder; input "images", output "logits". Its description is in ``user_defined_metadata``. iOS 17, macOS 14."""

    name = "coreml"
    files = (".mlpackage",)
    extra, packages, dynamic_size, int8 = CATALOG[name]

    @property
    def runs_here(self) -> bool:
        return platform.system() == "Darwin"

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        model = doubling(lean(network.model, self.block))
        with converting(self.name):
            _converted(model, network.example[:1]).save(str(path))
            spec = read_spec(path)
            metadata = spec.description.metadata.userDefined
            metadata[KEY] = network.description.text()
            metadata[SUM] = digest((path / WEIGHTS).read_bytes())
            write_spec(path, spec)

    def describe(self, path: Path) -> Description:
        with reading(path, "coremltools"):
            metadata = read_spec(path).description.metadata.userDefined
            text, expected = metadata.get(KEY), metadata.get(SUM)
        description = Description.parse(text, path)
        check_part(path / WEIGHTS, expected, path)
        return description

    def open(self, path: Path, threads: int | None = None) -> Runner:
        self.describe(path)
        if not self.runs_here:
            raise UsageError(f"{path}: Core ML runs on macOS only, not on {platform.system()}")
        with reading(path, "Core ML"):
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
        with reading(path, "coremltools"):
            found = facts(read_spec(path))
        for fact, value in found.items():
            if value != wanted[fact]:
                raise RunError(f"{path}: {fact}: {value}, not {wanted[fact]}")
        counts = f"{found['convolutions']} convolutions, {found['linear layers']} linear"
        return f"not run, which only macOS can; as it should have: images, {classes} logits, {counts}"


def _converted(model: nn.Module, image: torch.Tensor) -> Any:
    import coremltools as ct

    with torch.no_grad():
        traced = torch.jit.trace(model, image, check_trace=False)
    shape = ct.Shape((ct.RangeDim(1, MOST, 1), *image.shape[1:]))
    return ct.convert(
        traced,
        inputs=[ct.TensorType("images", shape)],
        outputs=[ct.TensorType("logits")],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
