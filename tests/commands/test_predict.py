"""tools/predict.py: classes of images on a terminal, in lines and in a file; what is wrong in one line."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from PIL import Image

from ghostlab.deploy.export import formats
from ghostlab.deploy.network import Description
from tests.conftest import Command
from tests.deploy.fake_format import Fake

BEST, SECOND = (math.exp(k) / sum(map(math.exp, range(3))) for k in (2, 1))
"""What a ``Fake`` of three classes says about any image: its logits are 0, 1, 2."""


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network, a folder with two images, and one that is none."""
    monkeypatch.setitem(formats.FORMATS, "fake", Fake())
    how = {"input_size": [3, 8, 8], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "crop_pct": 1.0}
    (tmp_path / "net.fake").write_text(Description("net width=0.5", ("cat", "dog", "[red]hen"), how).text())
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for name in ("images/b.png", "images/deep/a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_text("text")


def test_each_image_is_a_line(call: Command) -> None:
    done = call("tools/predict.py", "net.fake", "images", "--top", "2")
    shares = f"[red]hen\t{BEST:.4f}\tdog\t{SECOND:.4f}"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"images/b.png\t{shares}\nimages/deep/a.jpg\t{shares}\n"


def test_a_terminal_gets_a_table(call: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = call("tools/predict.py", "net.fake", "images/b.png")
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines() if "│" in line]
    assert lines == [["images/b.png", "[red]hen", "66.5 %"], ["", "dog", "24.5 %"], ["", "cat", "9.0 %"]]


def test_what_cannot_be_read_is_said_after_the_others_are_answered(call: Command, tmp_path: Path) -> None:
    done = call("tools/predict.py", "net.fake", "broken.png", "images", "--top", "1", "--json", "out/all.json")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{name}\t[red]hen\t{BEST:.4f}" for name in ("images/b.png", "images/deep/a.jpg")
    ]
    assert done.stderr.splitlines() == [
        "written to out/all.json",
        "broken.png: not an image",
        "1 of 3 images could not be read",
    ]
    found = json.loads((tmp_path / "out/all.json").read_text())
    assert (found["source"], found["architecture"]) == ("net.fake", "net width=0.5")
    first, second, _ = found["predictions"]
    assert first == {"image": "broken.png", "error": "not an image"}
    assert second == {"image": "images/b.png", "top": [{"class": "[red]hen", "probability": pytest.approx(BEST)}]}


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["net.fake", "images", "--top", "0"], 2, "--top 0: must be at least 1"),
        (["net.fake", "none.png"], 2, "'none.png': no such file or folder"),
        (["none.fake", "images"], 2, "'none.fake': no such file"),
        (["images/b.png", "images"], 2, "'images/b.png': not a network; expected"),
        (["broken.fake", "images"], 1, "broken.fake: no description of a network of this package in it"),
    ],
)
def test_a_mistake_is_one_line(call: Command, tmp_path: Path, arguments: list[str], code: int, line: str) -> None:
    (tmp_path / "broken.fake").write_text("{}")
    done = call("tools/predict.py", *arguments, "--json", "all.json")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "all.json").exists()
