from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ghostlab


def test_importing_the_package_imports_neither_torch_nor_timm() -> None:
    code = "import sys, ghostlab, ghostlab.errors; print({'torch', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["create_model", "load_weights", "reparameterize", "fuse"])
def test_functions_are_there_when_asked_for(name: str) -> None:
    assert callable(getattr(ghostlab, name))
    assert name in dir(ghostlab)
    assert name in ghostlab.__all__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'ghostlab' has no attribute 'creat_model'"):
        ghostlab.creat_model  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert ghostlab.__version__ == project["version"]
