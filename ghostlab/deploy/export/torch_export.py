"""PyTorch's own files of ``torch.export``, run by PyTorch, which then needs neither this package nor timm."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ghostlab.deploy.export.catalog import CATALOG
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.program import program
from ghostlab.deploy.export.pt2 import EXTRA, checked, extra
from ghostlab.deploy.export.silence import converting, reading
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network

__all__ = ["TorchExport"]


class TorchExport(Format):
    """One file; its description is the extra file "ghostlab.json" in it. Read it with ``torch.export.load``."""

    name = "torch_export"
    files = (".pt2",)
    modules = ("torch.export.pt2_archive._package",)
    extra, packages, dynamic_size, int8 = CATALOG[name]

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        graph = program(network, lean(network.model, self.block), True, dynamic_size)
        _forget(graph)
        content = io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
        with converting(self.name):
            torch.export.save(graph, content, extra_files={EXTRA: network.description.text()})
        path.write_bytes(content.getbuffer())

    def describe(self, path: Path) -> Description:
        return Description.parse(extra(path), path)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        from ghostlab.private_apis import load_pt2

        content = checked(path)
        with reading(path, "torch.export"):
            model = load_pt2(io.BytesIO(content)).exported_programs["model"].module()

        def call(images: Tensor) -> Tensor:
            with _threads(threads):
                return model(images)

        return Runner(call)


def _forget(graph: ExportedProgram) -> None:
    """Leave out what only debugging needs: the lines of code behind each node, with their paths, and an input."""
    graph.example_inputs = None
    for node in graph.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in ("val", "unbacked_bindings")}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
