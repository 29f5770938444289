"""ExecuTorch programs whose work is done by XNNPACK, run by ExecuTorch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from torch import Tensor
from torch.export import ExportedProgram

from ghostlab.deploy.export.format import Format, Quantizer, Runner
from ghostlab.deploy.export.parts import append, appended
from ghostlab.deploy.export.program import program
from ghostlab.deploy.export.silence import converting, reading
from ghostlab.deploy.int8.pt2e import pt2e_int8
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network

__all__ = ["ExecuTorch"]


class ExecuTorch(Format):
    """One file; its description is in a zip appended to it: ``unzip -p model.pte``."""

    name = "executorch"
    files = (".pte",)
    extra = "executorch"
    packages = ("torchao", "executorch")
    int8 = True

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        self._lower(program(network, lean(network.model, self.block), True), network, path)

    def quantizer(self, network: Network, calibration: Sequence[Tensor]) -> Quantizer:
        def write(path: Path, keep_float: Collection[str]) -> None:
            with converting(self.name):
                graph = pt2e_int8(network, lean(network.model, self.block), calibration, keep_float)
            self._lower(graph, network, path)

        return write

    def _lower(self, graph: ExportedProgram, network: Network, path: Path) -> None:
        with converting(self.name):
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()])
            path.write_bytes(lowered.to_executorch().buffer)
        append(path, network.description)

    def describe(self, path: Path) -> Description:
        return appended(path)[1]

    def open(self, path: Path, threads: int | None = None) -> Runner:
        content, _ = appended(path)
        with reading(path, "ExecuTorch"):
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            if threads is not None:
                portable_lib._unsafe_reset_threadpool(threads)  # of the whole process; nothing is running now
            method = Runtime.get().load_program(content).load_method("forward")
        assert method is not None

        def call(images: Tensor) -> Tensor:
            return method.execute([images])[0].clone()  # its memory is that of the next answer, too

        return Runner(call)
