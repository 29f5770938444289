"""Runs asked about image files: what they are shown, what the panels say, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytest import param

from ghostlab.data import DataConfig
from ghostlab.data.transforms import Compose, eval_transform
from ghostlab.errors import RunError, UsageError
from ghostlab.evaluation.cam import explain
from ghostlab.evaluation.cam_runs import Panel, check_format, draw_panels, explained_panels
from ghostlab.models import create_model
from ghostlab.runs.run import open_run

DATA = {"name": "digits", "image_size": 64, "crop_pct": 0.5, "mean": [0.2, 0.4, 0.6], "std": [0.5, 0.25, 0.5]}
CLASSES = ["Forest", "River", "10"]


def write_run(
    folder: Path, name: str = "test_efficientnet", classes: Sequence[str] = CLASSES, image_size: int = 64
) -> Path:
    options = {"width": 0.1} if name.startswith("ghost") else {}
    model = create_model(name, num_classes=len(classes), **options)
    (folder / "checkpoints").mkdir(parents=True)
    data = {**DATA, "image_size": image_size, "num_classes": len(classes), "class_names": [*classes]}
    config = {"model": {"name": name, **options}, "data": data, "strategy": {"cosine": {}, "ema": {}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    content = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": content}, folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "seed0-1234abcd")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("images") / "lake.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def test_the_image_goes_through_the_runs_own_preprocessing(run: Path, picture: Path) -> None:
    model, _ = open_run(run)
    transform = eval_transform(DataConfig(**DATA))
    seen = transform(Image.open(picture))
    [[_, panel]] = explained_panels([picture], [run], "River", "auto")
    np.testing.assert_allclose(panel.heat, explain(model, seen, 1).heat(64, 64).numpy())
    pixels = Compose(*transform.transforms[:-1])(Image.open(picture))  # the crop, not yet normalised
    np.testing.assert_allclose(panel.image, np.asarray(pixels) / 255, atol=1e-6)


def test_a_panel_says_what_it_shows(run: Path, picture: Path) -> None:
    model, _ = open_run(run)
    shares = model(eval_transform(DataConfig(**DATA))(Image.open(picture))[None])[0].softmax(0)
    predicted = int(shares.argmax())
    other = (predicted + 1) % 3
    [[source, panel]] = explained_panels([picture], [run / "checkpoints" / "last.ckpt"], CLASSES[other], "auto")
    assert source.title == "lake.png\n80 x 60 px"
    assert source.heat is None
    assert panel.title.splitlines() == [
        "test_efficientnet",
        "cosine+ema, 64 px",
        "seed0-1234abcd/last.ckpt",
        f"predicts {CLASSES[predicted]} ({100 * shares[predicted]:.1f} %)",
        f"map for {CLASSES[other]} ({100 * shares[other]:.1f} %)",
        "CAM 2 x 2",
    ]


def test_a_flat_map_is_not_drawn_and_that_is_said(picture: Path, tmp_path: Path) -> None:
    [[_, panel]] = explained_panels([picture], [write_run(tmp_path / "run", image_size=32)], "River", "auto")
    assert panel.heat is None
    assert panel.title.endswith("CAM 1 x 1\nno place speaks for it more than others")


def test_rows_are_images_and_columns_are_runs(run: Path, picture: Path, tmp_path: Path) -> None:
    ghost = write_run(tmp_path / "ghost", "ghostnetv2")
    rows = explained_panels([picture, picture], [run, ghost], None, "auto")
    assert [len(row) for row in rows] == [3, 3]
    assert rows[0][2].title.startswith("ghostnetv2 width=0.1\n")
    assert "Grad-CAM" in rows[0][2].title


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_any_mode_are_taken(run: Path, tmp_path: Path, mode: str) -> None:
    file = tmp_path / "image.tif"
    Image.new(mode, (40, 40)).save(file)
    [[source, _]] = explained_panels([file], [run], None, "auto")
    assert source.image.shape == (40, 40, 3)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        param("Rivre", "--class Rivre: no class 'Rivre'; did you mean 'River'?", id="name"),
        param("3", "--class 3: no class '3'", id="index"),
        param("-1", "--class -1: no class '-1'", id="negative"),
    ],
)
def test_an_unknown_class_is_refused(run: Path, picture: Path, wanted: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        explained_panels([picture], [run], wanted, "auto")


def test_a_class_is_named_or_counted_and_the_name_comes_first(run: Path, picture: Path) -> None:
    titles = [explained_panels([picture], [run], wanted, "auto")[0][1].title for wanted in ("0", "2", "10")]
    assert ["map for Forest" in titles[0], "map for 10" in titles[1], "map for 10" in titles[2]] == [True] * 3


def test_a_class_that_one_of_the_runs_does_not_know_is_refused_and_the_run_named(
    run: Path, picture: Path, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", classes=["Cat", "Dog"])
    with pytest.raises(UsageError, match=r"no class 'River'.*available: Cat, Dog \(test_efficientnet, .*, other\)"):
        explained_panels([picture], [run, other], "River", "auto")


def test_what_is_not_an_image_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no pixels")
    for name, reason in {"text.png": "not an image", "absent.png": "No such file or directory"}.items():
        with pytest.raises(UsageError, match=f"{name}: {reason}"):
            explained_panels([tmp_path / name], [run], None, "auto")


def test_a_run_without_a_checkpoint_is_refused(picture: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(RunError, match=r"no checkpoints/last\.ckpt, its first epoch is not finished"):
        explained_panels([picture], [run], None, "auto")


def test_a_data_node_that_training_did_not_write_is_refused(picture: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["mean"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match=r"the data node of its config\.yaml is not one that training wrote"):
        explained_panels([picture], [run], None, "auto")


def test_a_picture_is_drawn_whatever_the_titles_say(tmp_path: Path) -> None:
    panel = Panel("a_very_long_name_without_a_single_gap_" * 4 + "\n$x_{ $", np.zeros((24, 24, 3)), np.eye(24))
    draw_panels(tmp_path / "new" / "out.png", [[panel] * 4, [panel] * 4])
    with Image.open(tmp_path / "new" / "out.png") as drawn:
        assert drawn.width > 4 * 300
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_other_formats_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--out a\.bmp: its name must end in one of \.png, \.pdf, \.svg, \.jpg"):
        check_format(Path("a.bmp"))
