"""A folder of images that changes between two starts of the same command."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ghostlab.data.manifest import Manifest, SplitHashes
from ghostlab.runs import compose
from ghostlab.training.run import run
from tests.conftest import Command

JOB = [
    *("data=imagefolder", "data.root=photos", "data.image_size=16", "data.batch_size=4", "data.workers=0"),
    *("model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
]


def add(root: Path, name: str, count: int, start: int = 0) -> None:
    for half in ("train", "val"):
        (root / half / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            noise = np.random.default_rng(sum(map(ord, f"{half}{name}")) + 1000 * i)
            pixels = noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / half / name / f"{i}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photos`` of two classes and a finished run on them."""
    root = tmp_path_factory.mktemp("changed")
    for name in ("cat", "dog"):
        add(root / "photos", name, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run(compose(JOB))
    return root


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """The folder of that run, in a copy of everything; the working folder is beside it."""
    for name in ("photos", "outputs"):
        shutil.copytree(trained / name, tmp_path / name)
    [config] = tmp_path.rglob("config.yaml")
    return config.parent.relative_to(tmp_path)


def test_what_it_was_trained_on_is_kept_with_a_run(place: Path, tmp_path: Path) -> None:
    kept = Manifest.read(tmp_path / place)
    assert kept is not None
    assert (kept.class_names, len(kept.train), len(kept.val), len(kept.seen)) == (("cat", "dog"), 8, 8, 0)
    assert yaml.safe_load((tmp_path / place / "config.yaml").read_text())["images"] == kept.digest


def test_the_same_images_elsewhere_are_the_same_run(place: Path, tmp_path: Path, call: Command) -> None:
    shutil.move("photos", "moved")
    again = call("train.py", *JOB, "data.root=./moved/", "data.on_error=skip", "trainer.devices='1'")
    assert again.stdout.startswith("finished already")


def test_a_folder_that_has_grown_is_told_with_the_command_that_goes_on(place: Path, call: Command) -> None:
    add(Path("photos"), "cat", 3, start=4)
    grown = call("train.py", *JOB)
    first = grown.stdout.splitlines()[0]
    said, _, command = first.partition(" goes on from its weights: ")
    told = "3 of 11 training images new, 3 of 11 validation images new"
    assert said == f"images    {told} since {place} was finished; this is another run, and another"
    goes_on = call(*shlex.split(command)[1:])
    assert f"weights   of {place}, with its head" in goes_on.stdout
    assert goes_on.returncode == 0
    assert call("train.py", *JOB).stdout.startswith("finished already")
    assert len(list(Path("outputs").rglob("result.json"))) == 3


def test_an_unfinished_run_does_not_go_on_with_other_images(place: Path, call: Command) -> None:
    (place / "result.json").unlink()
    for half in ("train", "val"):
        Path("photos", half, "dog").rename(Path("photos", half, "ant"))
    refused = call("train.py", *JOB)
    told = "class 'ant' new, class 'dog' gone, 8 images in another class"
    assert (refused.returncode, refused.stderr) == (
        2,
        f"data.root=photos: {told} since {place} began, which is not finished and cannot go on;"
        " resume=never begins anew with the images of now\n",
    )
    anew = call("train.py", *JOB, "resume=never")
    assert (anew.returncode, "resuming" in anew.stdout) == (0, False)
    assert (place / "checkpoints" / "last.ckpt").exists()


def test_an_unfinished_run_goes_on_where_its_images_are_the_same(place: Path, call: Command) -> None:
    (place / "result.json").unlink()
    again = call("train.py", *JOB)
    assert "resuming after epoch 1" in again.stdout
    assert (place / "result.json").exists()


def test_a_set_that_was_replaced_in_place_is_not_gone_on_with(call: Command) -> None:
    job = [*JOB[4:], "data.image_size=8", "data.val_fraction=0.9", "data.batch_size=64"]
    assert call("train.py", *job).returncode == 0
    [result] = Path("outputs").rglob("result.json")
    result.unlink()
    kept = Manifest.read(result.parent)
    assert kept is not None
    replace(kept, train=SplitHashes(kept.train.hashes + np.uint64(1), kept.train.targets)).write(result.parent)
    refused = call("train.py", *job)
    count = len(kept.train)
    told = f"{count} of {count} training images new, {count} of {count} training images gone"
    assert refused.stderr == (
        f"data=digits: {told} since {result.parent} began, which cannot go on; resume=never begins anew\n"
    )
    assert call("train.py", *job, "resume=never").returncode == 0


def test_what_changed_is_said_where_a_run_is_scored(place: Path, call: Command) -> None:
    Path("photos/val/cat/0.png").unlink()
    fused = call("tools/fuse.py", str(place))
    assert (
        f"images    1 of 8 validation images gone since {place.resolve()} was trained (data.root=photos)"
        in fused.stdout
    )
    assert "on 7 images" in fused.stdout


def test_other_classes_are_not_scored_by_their_numbers(place: Path, call: Command) -> None:
    (place / "result.json").unlink()
    for half in ("train", "val"):
        Path("photos", half, "dog").rename(Path("photos", half, "ant"))
    fused = call("tools/fuse.py", str(place))
    told = "class 'ant' new, class 'dog' gone since the run was trained"
    assert f"top-1 not measured: data.root=photos: {told}\n" in fused.stdout
    assert f"{place.resolve()} is not finished (1 of 1 epochs): its weights are those of now\n" in fused.stderr
