"""LiteRT's files, formerly TensorFlow Lite's, run by LiteRT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ghostlab.deploy.export.catalog import CATALOG
from ghostlab.deploy.export.doubling import doubling
from ghostlab.deploy.export.format import Format, Runner, one_by_one
from ghostlab.deploy.export.parts import append, appended
from ghostlab.deploy.export.silence import converting, reading
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network

__all__ = ["LiteRT"]


class LiteRT(Format):
    """One file, for one image at a time, laid out as in PyTorch; its description is in a zip appended to it."""

    name = "litert"
    files = (".tflite",)
    modules = ("ai_edge_litert.interpreter",)
    extra, packages, dynamic_size, int8 = CATALOG[name]
    dynamic_batch = False

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        with converting(self.name):
            import litert_torch

            model = doubling(lean(network.model, self.block))
            litert_torch.convert(model, (network.example[:1],)).export(str(path))
        append(path, network.description)

    def describe(self, path: Path) -> Description:
        return appended(path)[1]

    def open(self, path: Path, threads: int | None = None) -> Runner:
        content, _ = appended(path)
        with reading(path, "LiteRT"):
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
            source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def call(image: Tensor) -> Tensor:
            interpreter.set_tensor(source, image.numpy())
            interpreter.invoke()
            return torch.from_numpy(interpreter.get_tensor(answer))

        return Runner(one_by_one(call))
