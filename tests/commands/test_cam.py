"""tools/cam.py: one picture and its path, or one line on stderr and nothing on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Command
from tests.training_runs import trained_run

QUICK = [
    "data.image_size=32",
    "model=timm",
    "model.name=test_efficientnet",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("outputs"), QUICK)


@pytest.fixture
def digit(tmp_path: Path) -> str:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(tmp_path / "digit.png")
    return "digit.png"


def test_a_run_is_asked_about_an_image(command: Command, trained: Path, digit: str, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    done = command("tools/cam.py", digit, str(trained), str(checkpoint), "--class", "7", "--images", digit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "outputs/cam/digit.png\n", "")
    with Image.open(tmp_path / "outputs" / "cam" / "digit.png") as picture:
        assert picture.width > 900
        assert picture.height > 600
        assert len(picture.convert("RGB").resize((100, 100)).getcolors(10**4) or ()) > 100


def test_a_mistake_is_one_line_and_leaves_nothing(command: Command, trained: Path, digit: str, tmp_path: Path) -> None:
    done = command("tools/cam.py", digit, str(trained), "--class", "seven")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "--class seven: no class 'seven'; available: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 (test_efficientnet, "
    )
    assert done.stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == [digit]
