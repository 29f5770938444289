"""A disk without room, or one that takes no files: one line that says so, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.distill.cache import AnswerCache, Header
from ghostlab.errors import WriteError
from ghostlab.testing.runs import SmallRuns
from tests.conftest import Command
from tests.disks import Disk, disk
from tests.reports.runs import write_run
from tests.training_runs import trained_run

__all__ = ["disk"]

QUICK = [
    *("model=timm", "model.name=test_resnet", "data=imagefolder", "data.image_size=16", "data.batch_size=16"),
    *("data.workers=0", "data.decoded=null", "trainer.accelerator=cpu", "trainer.max_epochs=1"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = SmallRuns(tmp_path_factory.mktemp("few")).images
    return trained_run(tmp_path_factory.mktemp("outputs"), [*QUICK, f"data.root={few}"])


@pytest.fixture
def digit(tmp_path: Path) -> str:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(tmp_path / "digit.png")
    return "digit.png"


COMMANDS = [
    param("tools/fuse.py {run} --out {disk}/new", id="fuse"),
    param("tools/export.py {run} --to torch_export --out {disk}/new", id="torch_export"),
    param("tools/export.py {run} --to onnx --out {disk}/new", id="onnx"),
    param("tools/export.py {run} --to openvino --out {disk}/new", id="openvino"),
    param("tools/publish.py {run} --out {disk}/new/x --licence mit", id="publish"),
    param("tools/predict.py {run} {image} --json {disk}/new/all.json", id="predict"),
    param("tools/cam.py {image} {run} --out {disk}/new/x.png", id="cam"),
]


def assert_one_line(call: Command, line: str, folder: Path, reason: str) -> None:
    done = call(*line.split())
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [told] = [line for line in done.stderr.splitlines() if not line.startswith("not exported: ")]
    assert str(folder) in told and "cannot be written" in told and reason in told
    assert f"{folder}/new/." not in told  # what is written aside is nothing that the user has named
    assert [file for file in folder.rglob("*") if file.is_file() and file.name != "filler"] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_a_full_disk_is_one_line(call: Command, trained: Path, digit: str, disk: Disk, line: str) -> None:
    full = disk("1m")
    (full / "filler").write_bytes(bytes(2**20))
    reason = "no room is left" if "openvino" in line else "No space left on device"
    assert_one_line(call, line.format(run=trained, image=digit, disk=full), full, reason)


@pytest.mark.parametrize("line", [case for case in COMMANDS if case.id not in ("onnx", "openvino")])
def test_a_disk_that_takes_no_files_is_one_line(
    call: Command, trained: Path, digit: str, disk: Disk, line: str
) -> None:
    closed = disk("1m", read_only=True)
    assert_one_line(call, line.format(run=trained, image=digit, disk=closed), closed, "Read-only file system")


def test_a_file_where_a_folder_is_wanted_is_one_line(call: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = call("tools/export.py", str(trained), "--to", "torch_export", "--out", "taken/export")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "taken/export: cannot be written: Not a directory\n"


def test_other_formats_are_still_tried(call: Command, trained: Path, disk: Disk) -> None:
    pytest.importorskip("onnxruntime")
    small = disk("2m")  # for one of them
    done = call("tools/export.py", str(trained), "--to", "torch_export,onnx", "--out", str(small))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "not exported: onnx"
    assert {file.name for file in small.iterdir()} == {"model.pt2", "export.json", ".lock"}
    assert set(json.loads((small / "export.json").read_text())["formats"]) == {"torch_export"}


def test_a_report_that_finds_no_room_is_one_line(call: Command, disk: Disk) -> None:
    full = disk("1m")
    for seed in range(2):
        write_run(full, "baseline", seed, 80.0 + seed)
        write_run(full, "kd", seed, 82.0 + seed)
    (full / "filler").write_bytes(bytes(shutil.disk_usage(full).free))
    done = call("tools/report.py", str(full))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{full}/table.md: cannot be written: No space left on device"]
    assert not list(full.glob("*.*"))


def test_a_cache_of_answers_that_finds_no_room_ends_with_an_error_and_not_the_process(disk: Disk) -> None:
    cache = AnswerCache.create(disk("256k") / "cache", Header({}, images=10_000, classes=10, k=10, teacher="", top1=1))
    entries = np.zeros(3, cache.header.entry)
    with pytest.raises(WriteError, match=r"answers\.bin: cannot be written: No space left on device"):
        cache.write(0, np.arange(3), entries, 3)
    assert cache.done == 0
