"""Of what is asked for, what can be done is done, and the rest is named before anything is computed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from pytest import param

from ghostlab.deploy.export.catalog import CATALOG, plan_exports
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.errors import UsageError
from tests.conftest import ROOT

LITERT = "--to litert: litert_torch, ai_edge_litert are not installed; pip install 'ghostlab[litert]'"
NO_INT8 = "--int8: not for ncnn; allowed: onnx, executorch"


@pytest.fixture(autouse=True)
def only_litert_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = CATALOG["litert"].packages
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())


@pytest.mark.parametrize(
    ("to", "dynamic", "int8", "jobs", "reasons"),
    [
        param("onnx", False, False, "onnx", {}, id="one"),
        param("ncnn,onnx,ncnn", False, False, "ncnn, onnx", {}, id="in-order-once"),
        param("onnx,litert", False, False, "onnx", {"litert": LITERT}, id="not-installed"),
        param("litert,onnx,ncnn", False, False, "onnx, ncnn", {"litert": LITERT}, id="not-installed-first"),
        param("onnx,ncnn", False, True, "onnx, onnx int8, ncnn", {"ncnn int8": NO_INT8}, id="no-int8"),
        param("executorch", False, True, "executorch, executorch int8", {}, id="int8"),
        param(
            "onnx,litert",
            *(False, True, "onnx, onnx int8"),
            {"litert": LITERT, "litert int8": LITERT},
            id="not-installed-and-no-int8",
        ),
        param(
            "openvino,coreml",
            *(True, False, "openvino"),
            {"coreml": "--size dynamic: not for coreml; allowed: onnx, torch_export, openvino"},
            id="one-size",
        ),
    ],
)
def test_what_can_be_done_is_planned(to: str, dynamic: bool, int8: bool, jobs: str, reasons: dict[str, str]) -> None:
    found, why = plan_exports(to, dynamic, int8)
    assert ", ".join(map(str, found)) == jobs
    assert {str(job): reason for job, reason in why.items()} == reasons


@pytest.mark.parametrize(
    ("to", "dynamic", "int8", "line"),
    [
        param("litert", False, False, LITERT, id="not-installed"),
        param("ncnn", False, True, NO_INT8, id="no-int8"),
        param("ncnn,coreml", False, True, "--int8: not for ncnn, coreml; allowed: onnx, executorch", id="int8-of-none"),
        param("ncnn", True, False, "--size dynamic: not for ncnn; allowed: onnx, ", id="one-size"),
        param("onyx", False, False, "--to onyx: no format 'onyx'; did you mean 'onnx'", id="unknown"),
        param("onnx,", False, False, "--to onnx,: no format ''; available: ", id="empty"),
    ],
)
def test_where_nothing_can_be_done_it_is_bad_usage(to: str, dynamic: bool, int8: bool, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_exports(to, dynamic, int8)
    assert str(caught.value).startswith(line)


def test_the_formats_are_those_of_the_catalog() -> None:
    assert list(FORMATS) == list(CATALOG)
    for name, entry in CATALOG.items():
        form = FORMATS[name]
        assert (form.extra, form.packages) == (entry.extra, entry.packages)


def test_a_mistake_is_told_before_torch_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['tools/export.py', 'run', '--to', 'onyx']\n"
        "import runpy\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as ended: print(ended.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
