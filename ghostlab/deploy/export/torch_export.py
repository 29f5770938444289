"""PyTorch's own files of ``torch.export``, run by PyTorch, which then needs neither this package nor timm."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.program import exported_program
from ghostlab.deploy.lean import lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError
from ghostlab.private_apis import tree_structure, treespec_dumps

__all__ = ["TorchExport"]

EXTRA = "ghostlab.json"
GRAPH = "models/model.json"
INPUTS = "data/sample_inputs/model.pt"
"""A pickle, which this package leaves empty."""
CONFIGS = tuple(f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants"))
TENSORS = r"data/weights/weight_\d+|data/constants/tensor_\d+"
ENTRIES = re.compile(
    "|".join([TENSORS, *map(re.escape, (GRAPH, INPUTS, *CONFIGS, f"extra/{EXTRA}"))])
    + r"|archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment"
)

PUBLIC = r"torch\.ops\.aten\.([a-z]\w*|_assert_\w+|_upsample_bi(cubic|linear)2d_aa)\.\w+"
OPERATORS = re.compile(PUBLIC + r"|_operator\.(add|sub|mul|floordiv|mod|getitem)")
"""What a node may call. Private ones check their arguments less, but for those named."""
TEXTS = ("none", "tanh", "floor", "trunc", "constant")
"""Values of an operator's argument that is text, which could be the name of a file."""
PLAIN = re.compile(r"[\w.+-]*")
SIZES = re.compile(
    r"(Symbol\('\w+'|(positive|integer|nonnegative)=True|Integer|Add|Mul|Max|Min|FloorDiv|Mod|PythonMod|[-\d(), ])*"
)
"""As SymPy writes them, which reads them by evaluating them."""
GUARDS = re.compile(r"(L\['\w+'\]\.size\(\)\[\d+\]|(torch\.sym_)?(max|min)\(|\b(and|or|not)\b|[-\d(), +*/%<>=!])*")
"""Conditions on sizes, which are evaluated."""

ARGUMENTS: tuple[Any, ...] = ((0,), {})
_SPECS = ("", *(treespec_dumps(tree_structure(tree)) for tree in (ARGUMENTS, 0)))
"""One tensor in, one tensor out; other trees could name classes to import."""


class TorchExport(Format):
    """One file; its description is the extra file "ghostlab.json" in it. Read it with ``torch.export.load``."""

    name = "torch_export"
    files = (".pt2",)
    modules = ("torch.export.pt2_archive._package",)

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        graph = exported_program(network, lean(network.model, self.block), dynamic_size)
        _forget(graph)
        content = io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
        with conversion_errors(self.name):
            torch.export.save(graph, content, extra_files={EXTRA: network.description.text()})
        path.write_bytes(content.getbuffer())

    def describe(self, path: Path) -> Description:
        return Description.parse(embedded_description(path), path)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        from ghostlab.private_apis import load_pt2

        content = checked_content(path)
        with reading_errors(path, "torch.export"):
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


# PyTorch would unpickle, import and evaluate what it finds in a file. Only tensors as plain bytes are let through,
# operators on tensors, and arithmetic about sizes.


def embedded_description(path: Path) -> str:
    """The description in the file, of which nothing else is read."""
    return _entries(path, path.read_bytes() if path.is_file() else b"")[f"extra/{EXTRA}"].decode()


def checked_content(path: Path) -> bytes:
    """The content of the file; ``RunError`` if there is anything in it that this package does not write."""
    content = path.read_bytes() if path.is_file() else b""
    entries = _entries(path, content)
    with reading_errors(path, "torch.export"):
        for config in CONFIGS:
            if any(key == "use_pickle" and value is not False for key, value in _pairs(json.loads(entries[config]))):
                raise RunError(f"{path}: not read, as a tensor in it is a pickle, which may execute anything")
        graph = json.loads(entries[GRAPH])
        for key, value in _pairs(graph):
            if not _harmless(key, value):
                raise RunError(f"{path}: not read, as its graph may execute {str(value)[:80]!r}")
    return content


def _entries(path: Path, content: bytes) -> dict[str, bytes]:
    """As PyTorch's own reader sees them; another could see others in a crooked archive."""
    from torch.export.pt2_archive import PT2ArchiveReader

    with reading_errors(path, "torch.export"), PT2ArchiveReader(io.BytesIO(content)) as archive:
        names = archive.get_file_names()
        strange = [name for name in names if not ENTRIES.fullmatch(name)]
        if strange:
            raise RunError(f"{path}: not read, as {strange[0]!r} in it is nothing that this package writes")
        if archive.read_bytes(INPUTS):
            raise RunError(f"{path}: not read, as {INPUTS!r} in it is a pickle, which may execute anything")
        return {name: archive.read_bytes(name) for name in (GRAPH, *CONFIGS, f"extra/{EXTRA}")}


def _pairs(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and plain value in nested JSON, with the key that it is under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield "", name
            yield from _pairs(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _pairs(item, key)
    else:
        yield key, value


def _harmless(key: str, value: Any) -> bool:
    if not isinstance(value, str):
        return True
    if key == "target":
        return OPERATORS.fullmatch(value) is not None
    if key in ("as_string", "as_strings"):
        return value in TEXTS
    if key in ("in_spec", "out_spec"):
        return value in _SPECS
    grammar = {"expr_str": SIZES, "guards_code": GUARDS}.get(key, PLAIN)
    return grammar.fullmatch(value) is not None
