"""Names that the encoding of an output lacks, even those that are not UTF-8, end no command."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.errors import RunError
from ghostlab.files import write_text
from ghostlab.runs import compose
from ghostlab.runs.run import Run
from ghostlab.studies.worker import _keep
from ghostlab.training.run import run
from tests.conftest import Command

FOREIGN = os.fsdecode(b"caf\xe9.png")
"""As in an archive of another system."""
ENCODINGS = [param("ascii", id="ascii"), param("cp1252", id="windows"), param("utf-8", id="strict-utf-8")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, some of foreign names, and ``ausgänge`` with a run of classes ``żaba`` and ``dog``."""
    folder = tmp_path_factory.mktemp("names")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("żaba", "dog"):
            (folder / "images" / split / name).mkdir(parents=True)
            for file in (FOREIGN, *(f"{number}.png" for number in range(8))):
                pixels = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "images" / split / name / file)
    for strategy in ("baseline", "smoothing"):
        run(compose([*overrides(folder), f"strategy={strategy}"]))
    return folder


def overrides(folder: Path) -> list[str]:
    return [
        *("data=imagefolder", f"data.root='{folder}/images'", "data.image_size=16", "data.batch_size=8"),
        *("data.workers=0", "data.decoded=null", "model=timm", "model.name=test_resnet", "trainer.max_epochs=1"),
        *("trainer.accelerator=cpu", f"outputs='{folder}/ausgänge'"),
    ]


def folder_of(trained: Path) -> str:
    [file] = (trained / "ausgänge").rglob("baseline/*/result.json")
    return str(file.parent)


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "train.py": overrides,
    "tools/predict.py": lambda folder: [
        folder_of(folder),
        str(folder / "images/val"),
        "--json",
        str(folder / "a.json"),
    ],
    "tools/report.py": lambda folder: [str(folder / "ausgänge")],
    "tools/fuse.py": lambda folder: [folder_of(folder), "--out", str(folder / "gefaltet_ß")],
}


@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_command_says_what_it_has_to_say(
    call: Command, trained: Path, monkeypatch: pytest.MonkeyPatch, script: str, encoding: str
) -> None:
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, encoding, "strict", write_through=True))
    done = call(script, *COMMANDS[script](trained))
    assert done.returncode == 0, done.stderr
    text = said.getvalue().decode(encoding)
    assert "ausg" in text or "gefaltet" in text or "dog" in text
    if script == "tools/predict.py":
        assert r"caf\xe9.png" in text
        assert ("żaba" if encoding == "utf-8" else r"\u017caba") in text


def test_files_take_any_name(tmp_path: Path) -> None:
    write_text(tmp_path / "table.md", f"ä {FOREIGN}")
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == r"ä caf\udce9.png"
    _keep(tmp_path, ["seed=1"], RunError(f"unreadable image {FOREIGN}"))
    assert Run(tmp_path).failure() == r"unreadable image caf\udce9.png"
