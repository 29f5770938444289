"""Exported files as contestants: what is known of them, and what they are measured as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ghostlab.benchmarks.contestants import contestants, export, file_deployable
from ghostlab.benchmarks.deployables import Deployable, find_folded
from ghostlab.deploy.export import formats
from ghostlab.deploy.export.format import Format
from ghostlab.errors import RunError, UsageError
from ghostlab.models import count, create_model
from tests.deploy.fake_format import Fake

NAME = "ghostnetv2:width=0.1,num_classes=7"


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Format:
    kind = Fake()
    monkeypatch.setitem(formats.FORMATS, "fake", kind)
    return kind


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Deployable]:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    return folder / "0.onnx", export(find_folded(NAME, 33), "onnx", folder / "0")


def test_a_model_is_exported_as_it_is_deployed(exported: tuple[Path, Deployable]) -> None:
    one = exported[1]
    ready = one.prepare()
    assert (one.name, one.runtime, one.top1) == (f"{NAME} (onnx)", "onnx", None)
    assert (ready.form, ready.image_size) == ("lean", 33)
    assert (ready.params, ready.macs) == count(
        create_model("ghostnetv2", width=0.1, num_classes=7, layout="deployed"), 33
    )
    assert ready.load > 0
    logits = ready.call(torch.zeros(3, 3, 33, 33))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (3, 7)


def test_a_file_says_what_it_is(exported: tuple[Path, Deployable]) -> None:
    path, made = exported
    one = file_deployable(str(path))
    ready = one.prepare()
    assert (one.name, one.runtime, ready.form, ready.image_size) == (str(path), "onnx", "file", 33)
    assert (ready.params, ready.macs) == (made.prepare().params, made.prepare().macs)
    with pytest.raises(UsageError, match=r"--image-size 64: .*0\.onnx is for 33 px"):
        file_deployable(str(path), 64)


def test_its_accuracy_is_what_was_noted_beside_it(exported: tuple[Path, Deployable]) -> None:
    path = exported[0]
    noted = {"onnx": {"file": "0.onnx", "top1": 61.5}, "onnx int8": {"file": "0.int8.onnx", "top1": 60}}
    (path.parent / "export.json").write_text(json.dumps({"formats": noted}))
    assert file_deployable(str(path)).top1 == 61.5
    (path.parent / "export.json").write_text("[]")
    assert file_deployable(str(path)).top1 is None


def test_a_format_of_one_image_is_called_for_each(tmp_path: Path) -> None:
    export(find_folded(NAME, 33), "fake", tmp_path / "model")
    ready = file_deployable(str(tmp_path / "model.fake")).prepare()
    assert ready.form == "file, batch 1"
    logits = ready.call(torch.zeros(3, 3, 33, 33))
    assert isinstance(logits, list)
    assert [one.shape for one in logits] == [(1, 7)] * 3


def test_each_model_is_measured_in_each_runtime_and_each_file_in_its_own(tmp_path: Path) -> None:
    export(find_folded(NAME, 33), "fake", tmp_path / "model")
    file = str(tmp_path / "model.fake")
    found = contestants([file, NAME, "test_resnet"], ["fake", "eager"], 33, tmp_path)
    assert [(one.name, one.runtime) for one in found] == [
        (file, "fake"),
        (f"{NAME} (fake)", "fake"),
        (NAME, "eager"),
        ("test_resnet (fake)", "fake"),
        ("test_resnet", "eager"),
    ]
    assert [one.prepare().form for one in found] == [
        *("file, batch 1", "lean, batch 1", "lean", "fused, batch 1", "fused"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "error", "line"),
    [
        ("none.fake", None, UsageError, r"'.*none\.fake': no such file"),
        ("model.fake", "text", RunError, r"model\.fake: no description of a network of this package in it"),
        ("model.onnx", "text", RunError, r"model\.onnx: ONNX Runtime cannot read it"),
    ],
)
def test_what_is_not_such_a_file_is_refused(
    tmp_path: Path, name: str, text: str | None, error: type[Exception], line: str
) -> None:
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=line):
        file_deployable(str(tmp_path / name))


def test_a_name_out_of_a_file_is_no_address(tmp_path: Path) -> None:
    text = Fake().describe  # the same parser as all formats have
    file = tmp_path / "model.fake"
    export(find_folded(NAME, 33), "fake", tmp_path / "model")
    harmful = file.read_text().replace("width=0.1", f"checkpoint_path={tmp_path}/pickle.ckpt")
    file.write_text(harmful)
    assert text(file).architecture.startswith("ghostnetv2 checkpoint_path=")
    assert file_deployable(str(file)).prepare().macs is None


def test_a_runtime_that_cannot_be_used_is_said_before_anything_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--runtime onnxx: no runtime 'onnxx'; did you mean 'onnx'"):
        contestants(["test_resnet"], ["eager", "onnxx"], None, tmp_path)
    monkeypatch.setattr(Fake, "packages", ("missing_package",))
    with pytest.raises(
        UsageError, match=r"--to fake: missing_package is not installed; pip install 'ghostlab\[fake\]'"
    ):
        contestants(["test_resnet"], ["fake"], None, tmp_path)
    monkeypatch.setattr(Fake, "packages", ("json",))
    monkeypatch.setattr(Fake, "runs_here", False)
    with pytest.raises(UsageError, match="--runtime fake: its files do not run on this machine"):
        contestants(["test_resnet"], ["fake"], None, tmp_path)
    assert not list(tmp_path.iterdir())
