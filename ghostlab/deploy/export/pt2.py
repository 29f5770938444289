"""What is checked in a .pt2 file before PyTorch reads it: it would unpickle, import and evaluate what it finds there.

Only tensors as plain bytes are let through, operators on tensors, and arithmetic about sizes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ghostlab.deploy.export.silence import reading
from ghostlab.errors import RunError
from ghostlab.private_apis import tree_structure, treespec_dumps

__all__ = ["EXTRA", "checked", "extra"]

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


def extra(path: Path) -> str:
    """The description in the file, of which nothing else is read."""
    return _entries(path, path.read_bytes() if path.is_file() else b"")[f"extra/{EXTRA}"].decode()


def checked(path: Path) -> bytes:
    """The content of the file; ``RunError`` if there is anything in it that this package does not write."""
    content = path.read_bytes() if path.is_file() else b""
    entries = _entries(path, content)
    with reading(path, "torch.export"):
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

    with reading(path, "torch.export"), PT2ArchiveReader(io.BytesIO(content)) as archive:
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


ARGUMENTS: tuple[Any, ...] = ((0,), {})
_SPECS = ("", *(treespec_dumps(tree_structure(tree)) for tree in (ARGUMENTS, 0)))
"""One tensor in, one tensor out; other trees could name classes to import."""
