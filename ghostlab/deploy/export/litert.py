"""LiteRT's files, formerly TensorFlow Lite's, run by LiteRT."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ghostlab.deploy.export.attention import DoublingAttention, with_attention
from ghostlab.deploy.export.checksums import append_description, split_description
from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors
from ghostlab.deploy.export.format import Format, Runner, one_by_one
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network

__all__ = ["LiteRT"]


class LiteRT(Format):
    """One file, for one image at a time, laid out as in PyTorch; its description is in a zip appended to it."""

    name = "litert"
    files = (".tflite",)
    modules = ("ai_edge_litert.interpreter",)
    dynamic_batch = False

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        with conversion_errors(self.name):
            import litert_torch

            model = with_attention(lean(network.model, self.block), DoublingAttention)
            litert_torch.convert(model, (network.example[:1],)).export(str(path))
        append_description(path, network.description)

    def describe(self, path: Path) -> Description:
        return split_description(path)[1]

    def open(self, path: Path, threads: int | None = None) -> Runner:
        content, _ = split_description(path)
        with reading_errors(path, "LiteRT"):
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
            source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def call(image: Tensor) -> Tensor:
            interpreter.set_tensor(source, image.numpy())
            interpreter.invoke()
            return torch.from_numpy(interpreter.get_tensor(answer))

        return Runner(one_by_one(call))
