"""Which room of the package may know which: storeys as in ``docs/architecture.md``, no circles, no private names."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
STOREYS = (
    ("errors", "private_apis", "files", "modules", "quantities", "shell", "slurm", "tables", "terminal"),
    ("statistics", "kernels", "reparam", "data"),
    ("models", "distill", "strategies"),
    ("runs", "training", "deploy", "evaluation"),
    ("studies", "reports", "benchmarks", "publish"),
    ("cli", "__main__", "testing"),
)
BESIDE = {
    "files": {"errors"},
    "modules": {"errors"},
    "private_apis": {"errors"},
    "reparam": {"kernels"},
    "distill": {"models"},
    "strategies": {"models", "distill"},
    "training": {"runs"},
    "deploy": {"runs"},
    "evaluation": {"runs", "training", "deploy"},
    "reports": {"studies", "benchmarks"},
    "publish": {"reports"},
    "__main__": {"cli"},
}
"""What a room knows of its own storey; of lower ones it may know any."""


class Import(NamedTuple):
    """That the module ``by`` imports ``name`` from the module ``module`` of the package."""

    by: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.by} imports {self.name} from {self.module}"


def imports() -> Iterator[Import]:
    for file in sorted((ROOT / "ghostlab").rglob("*.py")):
        by = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ghostlab"):
                yield from (Import(by, str(node.module), alias.name) for alias in node.names)


def room(module: str) -> str | None:
    """None for the package itself, which holds its version and names what it offers."""
    return module.split(".")[1] if "." in module else None


def allowed(of: str) -> set[str]:
    storey = next(number for number, rooms in enumerate(STOREYS) if of in rooms)
    return {of, *BESIDE.get(of, ()), *(below for rooms in STOREYS[:storey] for below in rooms)}


def test_every_room_has_its_storey() -> None:
    there = {
        path.stem for path in (ROOT / "ghostlab").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__"} == {room for rooms in STOREYS for room in rooms}


def test_no_arrow_points_upwards() -> None:
    crossing = [one for one in imports() if (of := room(one.by)) and (to := room(one.module)) and to not in allowed(of)]
    assert not crossing, "\n".join(map(str, crossing))


def test_what_lies_beside_is_no_circle() -> None:
    open_rooms = dict(BESIDE)
    while free := [of for of, to in open_rooms.items() if not to & open_rooms.keys()]:
        for of in free:
            del open_rooms[of]
    assert not open_rooms


def test_no_private_name_leaves_its_room() -> None:
    private = [one for one in imports() if one.name.startswith("_") and one.name != "__version__"]
    assert not [one for one in private if room(one.by) != room(one.module)]


def test_a_class_name_is_there_once() -> None:
    names = Counter(
        node.name
        for file in (ROOT / "ghostlab").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not {name: count for name, count in names.items() if count > 1}
