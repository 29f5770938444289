"""OpenVINO's intermediate representation, run by OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ghostlab.deploy.export.checksums import check_sha256, sha256
from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.program import exported_program
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError

__all__ = ["OpenVino"]

KEY = ["ghostlab", "description"]
SUM = ["ghostlab", "sha256"]


class OpenVino(Format):
    """The graph in .xml, whose ``rt_info`` has the description, and the weights in .bin; "images" -> "logits"."""

    name = "openvino"
    files = (".xml", ".bin")

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        graph = exported_program(network, lean(network.model, self.block), dynamic_size)
        with conversion_errors(self.name):
            import openvino

            model = openvino.convert_model(graph)
            model.inputs[0].set_names({"images"})
            model.outputs[0].set_names({"logits"})
            model.set_rt_info(network.description.text(), KEY)
            openvino.save_model(model, path, compress_to_fp16=False)
            model.set_rt_info(sha256(path.with_suffix(".bin").read_bytes()), SUM)
            openvino.save_model(model, path, compress_to_fp16=False)

    def describe(self, path: Path) -> Description:
        return _read(path)[1]

    def open(self, path: Path, threads: int | None = None) -> Runner:
        model, _ = _read(path)
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        with reading_errors(path, "OpenVINO"):
            import openvino

            compiled = openvino.compile_model(model, "CPU", options)
        return Runner(lambda images: torch.from_numpy(compiled(images.numpy())[0].copy()))


def _read(path: Path) -> tuple[Any, Description]:
    with reading_errors(path, "OpenVINO"):
        import openvino

        model = openvino.Core().read_model(path)
        if not all(model.has_rt_info(key) for key in (KEY, SUM)):
            raise RunError(f"{path}: no description of a network of this package in it")
        text, expected = (model.get_rt_info(key).astype(str) for key in (KEY, SUM))
    check_sha256(path.with_suffix(".bin"), expected, path)
    return model, Description.parse(text, path)
