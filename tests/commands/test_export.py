"""tools/export.py on a real run: what it says and writes, and that a file that answers otherwise is not kept."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ghostlab.deploy.export.format import Runner
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.deploy.export.onnx import Onnx, open_session
from ghostlab.deploy.network import open_network
from tests.conftest import Command
from tests.training_runs import trained_run

QUICK = [
    *("model=timm", "model.name=test_resnet", "data.image_size=16", "data.val_fraction=0.5"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=2", "strategy=reparam"),
]
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("outputs"), QUICK)


def axes(file: Path) -> list[str | int]:
    """The sides of the images that a file takes, and, as there is no other name, of the batches that it answers."""
    opened = open_session(file, 1)
    taken, answered = opened.get_inputs()[0].shape, opened.get_outputs()[0].shape
    assert answered == [taken[0], 10]
    return taken


def test_a_run_is_exported_with_its_accuracy_in_float32_and_int8(call: Command, trained: Path, tmp_path: Path) -> None:
    bound = ("--keep-float", "auto", "--max-drop", "1.5", "--calibration", "64")
    done = call("tools/export.py", str(trained), "--to", "onnx", "--int8", *bound, "--out", "out")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    top1 = json.loads((trained / "result.json").read_text())["top1"]
    assert told[0] == f"test_resnet stem_stride=1 at 16 px, 10 classes   PyTorch: top-1 {top1:.2f} on 899 images"
    assert told[1].startswith("onnx ") and told[1].endswith(f"top-1 {top1:.2f}")
    found = json.loads((tmp_path / "out/export.json").read_text())["formats"]
    assert found["onnx"]["top1"] == pytest.approx(top1, abs=0.12)
    assert found["onnx"]["difference"] < 1e-4
    int8 = found["onnx int8"]
    assert int8["top1"] >= top1 - 1.5
    assert int8["int8"]["calibration_images"] == 64
    assert 90 < int8["int8"]["same_class"] <= 100
    assert int8["int8"]["trials"][-1]["kept"] <= len(int8["int8"]["sqnr_db"]) == 16
    assert int8["bytes"] < 0.6 * found["onnx"]["bytes"]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "model.int8.onnx",
        "export.json",
        ".lock",
    }
    description = Onnx().describe(tmp_path / "out/model.int8.onnx")
    assert description == open_network(trained).description
    assert description.class_names == tuple(map(str, range(10)))
    for file in ("model.onnx", "model.int8.onnx"):
        assert axes(tmp_path / "out" / file) == ["batch", 3, 16, 16]
        assert b".py" not in (tmp_path / "out" / file).read_bytes()  # no path of the machine that wrote it


def test_what_fuse_wrote_is_exported_and_a_foreign_folder_has_no_accuracy(
    call: Command, trained: Path, tmp_path: Path
) -> None:
    assert call("tools/fuse.py", str(trained), "--out", "fused").returncode == 0
    done = call("tools/export.py", "fused/fused.safetensors", "--to", "onnx", "--size", "dynamic")
    assert done.returncode == 0, done.stderr
    assert "top-1 not measured: the file does not say on which data" in done.stdout
    assert axes(tmp_path / "fused/export/model.onnx") == ["batch", 3, "height", "width"]
    images = torch.randn(2, 3, 40, 28)
    network = open_network("fused/fused.json")
    answers = Onnx().open(tmp_path / "fused/export/model.onnx", 1)(images)
    torch.testing.assert_close(answers, network.model(images), rtol=1e-4, atol=1e-4)


def test_a_file_that_answers_otherwise_is_exit_1_and_not_kept(
    call: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Onnx.open

    def wrong(self: Onnx, path: Path, threads: int | None = None) -> Runner:
        return Runner(lambda images: opened(self, path, threads)(images).flip(1))

    monkeypatch.setattr(Onnx, "open", wrong)
    done = call("tools/export.py", str(trained), "--to", "onnx", "--out", "out")
    assert done.returncode == 1
    assert "onnx: its answers differ from PyTorch's by" in done.stderr
    assert done.stderr.splitlines()[-1] == "not exported: onnx"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(["--to", "onyx"], "--to onyx: no format 'onyx'; did you mean 'onnx'?", id="unknown-format"),
        pytest.param(["--to", "coreml", "--int8"], "--int8: not for coreml; allowed: onnx", id="no-int8"),
        pytest.param(["--to", "ncnn", "--size", "dynamic"], "--size dynamic: not for ncnn; allowed:", id="one-size"),
        pytest.param(
            ["--to", "onnx", "--int8", "--size", "dynamic"], "--size dynamic: not with --int8", id="int8-size"
        ),
        pytest.param(["--to", "onnx", "--keep-float", "auto"], "--keep-float: only with --int8", id="float-alone"),
        pytest.param(["--to", "onnx", "--int8", "--max-drop", "-1"], "--max-drop -1: percentage points", id="bound"),
    ],
)
def test_a_mistake_is_one_line(call: Command, trained: Path, arguments: list[str], line: str) -> None:
    done = call("tools/export.py", str(trained), *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(line), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (trained / "export").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_missing_is_named_before_anything_is_done(
    call: Command, trained: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda wanted: None)
    done = call("tools/export.py", str(trained), "--to", name)
    assert done.returncode == 2
    assert f"--to {name}: " in done.stderr and f"pip install 'ghostlab[{FORMATS[name].extra}]'" in done.stderr


def test_what_can_be_written_is_written_and_the_rest_is_named(call: Command, trained: Path, tmp_path: Path) -> None:
    done = call("tools/export.py", str(trained), "--to", "torch_export,litert", "--out", "out")
    if importlib.util.find_spec("litert_torch"):
        pytest.skip("LiteRT is installed")
    assert done.returncode == 1
    missing, failed = done.stderr.splitlines()
    assert missing.startswith("--to litert: litert_torch, ai_edge_litert are not installed; pip install")
    assert failed == "not exported: litert"
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"model.pt2", "export.json", ".lock"}


def test_a_truncated_fused_file_is_named(call: Command, trained: Path, tmp_path: Path) -> None:
    assert call("tools/fuse.py", str(trained), "--out", "fused").returncode == 0
    weights = tmp_path / "fused/fused.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = call("tools/export.py", "fused/fused.safetensors", "--to", "onnx")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "fused.safetensors" in done.stderr
    shutil.rmtree(tmp_path / "fused")
    gone: Any = call("tools/export.py", "fused/fused.safetensors", "--to", "onnx")
    assert gone.returncode == 2
