"""The same network trained by this package and by what others use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest import param

from ghostlab.benchmarks.throughput import PIPELINES
from tests.conftest import Command
from tests.training.photos import photos

SMALL = ["model=timm", "model.name=test_resnet", "data.image_size=16", "data.batch_size=2"]


def test_every_pipeline_trains_in_turn(call: Command, tmp_path: Path) -> None:
    data = [line for line in photos(tmp_path / "photos", train=4) if not line.startswith("trainer.")]
    done = call("tools/benchmark.py", "throughput", "--repeats", "2", *data, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "outputs/benchmarks/throughput.json").read_text())
    rows = {row["pipeline"]: row for row in found["rows"]}
    assert list(rows) == list(PIPELINES)
    assert rows["ghostlab"]["rounds"] == [1, 1]
    for row in rows.values():
        assert len(row["rounds"]) == 2 and min(row["rounds"]) > 0
        assert row["images_per_second"] > 0 < row["memory"]
        assert row["pipeline"] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(["data=digits"], "data=digits: must be a folder of images that are cropped", id="no-files"),
        param(["strategy=ema"], "strategy=ema: not every pipeline can follow it; data", id="strategy"),
        param(["trainer.max_epochs=3"], "trainer.max_epochs=3: not every pipeline can follow it; data", id="epochs"),
        param(["data.workers=2"], "data.workers=2: not every pipeline can follow it; data", id="workers"),
        param(["data=imagefolder", "data.root=gone"], "data.root=gone: ", id="no-folder"),
    ],
)
def test_what_not_all_can_read_is_refused(call: Command, tmp_path: Path, arguments: list[str], line: str) -> None:
    done = call("tools/benchmark.py", "throughput", *arguments, *SMALL)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
