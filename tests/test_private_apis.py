"""What other packages do not promise to keep is imported in one file, which is named when it is gone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from pytest import param

from ghostlab import private_apis
from ghostlab.errors import RunError
from ghostlab.private_apis import APIS, Api

ROOT = Path(__file__).parents[1]
FILE = Path(private_apis.__file__)
PUBLIC = ("_asdict", "_replace", "_fields", "_make", "_target_")
"""Of named tuples, and Hydra's key: documented, in spite of their names."""


@pytest.mark.parametrize("name", APIS)
def test_it_is_where_the_table_says(name: str) -> None:
    if find_spec(APIS[name].module.partition(".")[0]) is None:
        pytest.skip(f"{APIS[name].package} is not installed")
    try:
        assert getattr(private_apis, name) is not None
    except RunError as error:
        pytest.fail(f"mend ghostlab/private_apis.py: {error}")


def test_what_is_gone_is_named_with_its_package_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(APIS, "gone", Api("timm", "timm.models.efficientnet", "_gone", "1.0.31", "a test"))
    with pytest.raises(RunError) as refused:
        from ghostlab.private_apis import gone  # noqa: F401
    told = str(refused.value)
    assert re.match(r"timm [\d.]+ has no timm\.models\.efficientnet\._gone, which .*private_apis\.py was tried", told)
    assert told.endswith("with in timm 1.0.31")


def test_another_name_is_an_ordinary_mistake() -> None:
    with pytest.raises(ImportError):
        from ghostlab.private_apis import never_there  # noqa: F401


def private(code: str) -> Iterator[str]:
    """The private names that ``code`` takes from elsewhere."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from map(str, filter(_hidden, [*node.module.split("."), *(one.name for one in node.names)]))
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if any(map(_hidden, one.name.split("."))))
        elif isinstance(node, ast.Attribute) and _hidden(node.attr) and not _own(node.value):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
            named = node.args[1] if len(node.args) > 1 else None
            if isinstance(named, ast.Constant) and _hidden(str(named.value)) and not _own(node.args[0]):
                yield ast.unparse(node)


def _hidden(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls", "other")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        param("from hydra._internal.utils import run", ["_internal"], id="module"),
        param("from timm.layers import _norm", ["_norm"], id="name"),
        param("import torch._dynamo", ["torch._dynamo"], id="import"),
        param("torch._foreach_lerp_(a, b)", ["torch._foreach_lerp_"], id="attribute"),
        param("getattr(module, '_hooks')", ["getattr(module, '_hooks')"], id="getattr"),
        param("self._own; row._asdict(); cfg._target_; x.__class__", [], id="allowed"),
    ],
)
def test_a_private_name_is_found(code: str, found: list[str]) -> None:
    assert list(private(code)) == found


def test_there_is_none_in_any_other_file() -> None:
    folders = ("ghostlab", "hydra_plugins", "tools")
    files = [ROOT / "train.py", *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    found = {
        str(file.relative_to(ROOT)): names
        for file in files
        if file != FILE and (names := list(private(file.read_text("utf-8"))))
    }
    assert found == {}, "use a public way, or ghostlab/private_apis.py"
