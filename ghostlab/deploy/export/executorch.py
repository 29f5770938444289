"""ExecuTorch programs whose work is done by XNNPACK, run by ExecuTorch; in int8 as graphs of PyTorch ("PT2E")."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from ghostlab.deploy.export.checksums import append_description, split_description
from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors, silenced
from ghostlab.deploy.export.format import Format, Quantizer, Runner
from ghostlab.deploy.export.program import exported_program
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError

__all__ = ["ExecuTorch", "pt2e_int8"]

WEIGHTED = (torch.ops.aten.conv2d.default, torch.ops.aten.conv1d.default, torch.ops.aten.linear.default)


class ExecuTorch(Format):
    """One file; its description is in a zip appended to it: ``unzip -p model.pte``."""

    name = "executorch"
    files = (".pte",)
    modules = ("executorch.runtime", "executorch.extension.pybindings.portable_lib")

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        self._lower(exported_program(network, lean(network.model, self.block)), network, path)

    def quantizer(self, network: Network, calibration: Sequence[Tensor]) -> Quantizer:
        def write(path: Path, keep_float: Collection[str]) -> None:
            with conversion_errors(self.name):
                graph = pt2e_int8(network, lean(network.model, self.block), calibration, keep_float)
            self._lower(graph, network, path)

        return write

    def _lower(self, graph: ExportedProgram, network: Network, path: Path) -> None:
        with conversion_errors(self.name):
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()])
            path.write_bytes(lowered.to_executorch().buffer)
        append_description(path, network.description)

    def describe(self, path: Path) -> Description:
        return split_description(path)[1]

    def open(self, path: Path, threads: int | None = None) -> Runner:
        content, _ = split_description(path)
        with reading_errors(path, "ExecuTorch"):
            return Runner(_Method(content, threads).execute)


class _Pool:
    """The process's threads, which all programs share; one that was loaded before a change must not run after it."""

    changes = 0

    @classmethod
    def of(cls, threads: int | None) -> int:
        """Set their number, unless None; the number of changes so far."""
        from ghostlab.private_apis import threadpool_get_thread_count, unsafe_reset_threadpool

        if threads is not None and threadpool_get_thread_count() != threads:
            unsafe_reset_threadpool(threads)
            cls.changes += 1
        return cls.changes


class _Method:
    """The method "forward" of a program, loaded anew where other threads are to run it."""

    def __init__(self, content: bytes, threads: int | None) -> None:
        self.content, self.threads = content, threads
        self._load()

    def execute(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> logits (B, classes)."""
        if _Pool.of(self.threads) != self.loaded_at:
            with silenced():
                self._load()
        # the next answer is written to the same place
        return torch.cat([self.method.execute([part])[0].clone() for part in images.split(self.most)])

    def _load(self) -> None:
        from executorch.runtime import Runtime

        self.loaded_at = _Pool.of(self.threads)
        self.program = Runtime.get().load_program(self.content)  # kept, as the method reads from its memory
        self.method: Any = self.program.load_method("forward")
        self.most = self.method.metadata.input_tensor_meta(0).sizes()[0]  # images that it has memory for


def pt2e_int8(
    network: Network, model: nn.Module, calibration: Sequence[Tensor], keep_float: Collection[str] = ()
) -> ExportedProgram:
    """The graph of ``model``, a form of the network's own, in int8, for batches of any size.

    Weights: symmetric, one scale an output channel. Activations: one scale a tensor, that which loses least over all
    batches (B, 3, H, W). ``keep_float`` are layers by the names of their weights; raises ``RunError`` for one that the
    graph has not. Needs torchao and executorch.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import allow_exported_model_train_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    graph: Any = exported_program(network, model).module()
    floats = float_nodes(graph, keep_float)
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(graph, quantizer.set_filter_function(lambda node: node.name not in floats))
    with torch.no_grad():
        for images in calibration:
            prepared(images)
    converted = convert_pt2e(prepared)
    allow_exported_model_train_eval(converted)
    return exported_program(network, converted)


def float_nodes(graph: GraphModule, layers: Collection[str]) -> set[str]:
    """Names of the nodes that are the ``layers``, and of those without weights that read nothing but such nodes."""
    wanted = {f"{name}.weight": name for name in layers}
    found: set[str] = set()
    floats: set[str] = set()
    for node in graph.graph.nodes:
        inputs = [n for n in node.all_input_nodes if n.op == "call_function"]
        weights = wanted.keys() & {n.target for n in node.all_input_nodes if n.op == "get_attr"}
        found |= weights
        carries = node.op == "call_function" and node.target not in WEIGHTED and inputs
        if weights or (carries and all(n.name in floats for n in inputs)):
            floats.add(node.name)
    missing = sorted(wanted[weight] for weight in wanted.keys() - found)
    if missing:
        raise RunError(f"--keep-float: the graph has no weights of the layer '{missing[0]}'")
    return floats
