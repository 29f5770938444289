"""Data sets of torchvision on small imitations of their files, and what is said when the files are not there."""

from __future__ import annotations

import json
import pickle
import struct
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
from PIL import Image
from pytest import MonkeyPatch, param

from ghostlab.data.config import DataConfig
from ghostlab.data.datasets import build
from ghostlab.errors import RunError


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)


def cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        rows = np.zeros((2, 3072), np.uint8)
        rows[:, 1024:2048] = 10 * i  # the green plane
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": [i, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir()
    for name, label in (("train", 99), ("test", 1)):
        rows = np.zeros((1, 3072), np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "fine_labels": [label], "coarse_labels": [0]}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))


def fashionmnist(root: Path) -> None:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for half, labels in (("train", [3, 1, 2]), ("t10k", [0])):
        images = np.full((len(labels), 28, 28), 40, np.uint8)
        header = struct.pack(">IIII", 0x803, len(labels), 28, 28)
        (folder / f"{half}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + bytes(labels))


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    for i in range(1, 5):
        picture(folder / "jpg" / f"image_{i:05d}.jpg", 10 * i)
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([[102, 1, 5, 7]])})
    splits = {"trnid": [[1, 1]], "valid": [[3, 3]], "tstid": [[2, 4]]}
    scipy.io.savemat(folder / "setid.mat", {key: np.array(ids) for key, ids in splits.items()})


def food101(root: Path) -> None:
    for half, names in (("train", ["ramen/1", "pho/2"]), ("test", ["ramen/3"])):
        labels: dict[str, list[str]] = {"pho": [], "ramen": []}
        for name in names:
            picture(root / "food-101" / "images" / f"{name}.jpg", 50)
            labels[name.split("/")[0]].append(name)
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{half}.json").write_text(json.dumps(labels))


def stanfordcars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    halves = {"cars_train": "devkit/cars_train_annos", "cars_test": "cars_test_annos_withlabels"}
    for half, table_name in halves.items():
        rows = [("1.jpg", 2), ("2.jpg", 1)]
        table = np.array(rows, dtype=[("fname", object), ("class", object)])
        scipy.io.savemat(folder / f"{table_name}.mat", {"annotations": table})
        for name, _ in rows:
            picture(folder / half / name, 60)
    names = np.array(["Audi", "BMW"], dtype=object)
    scipy.io.savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})


def fgvcaircraft(root: Path) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    for i in range(3):
        picture(folder / "images" / f"{i}.jpg", 10)
    (folder / "variants.txt").write_text("737\nA 380\n")
    (folder / "images_variant_trainval.txt").write_text("0 A 380\n1 737\n")
    (folder / "images_variant_test.txt").write_text("2 737\n")


def oxfordpets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    lines = {
        "trainval": ["Abyssinian_1 1 1 1", "basset_hound_2 2 2 1"],
        "test": ["basset_hound_3 2 2 1", "Abyssinian_4 1 1 1"],
    }
    for half, rows in lines.items():
        (folder / "annotations" / f"{half}.txt").write_text("\n".join(rows) + "\n")
        for row in rows:
            picture(folder / "images" / f"{row.split()[0]}.jpg", 70)


def caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    for name, count in (("ant", 33), ("crab", 40), ("BACKGROUND_Google", 2)):
        for i in range(1, count + 1):
            picture(folder / name / f"image_{i:04d}.jpg", 80)


@pytest.fixture
def unchecked(monkeypatch: MonkeyPatch) -> None:
    """Imitations cannot have the checksums of the real files."""
    for module in ("cifar", "flowers102"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).is_file()
        )


@pytest.mark.parametrize(
    ("imitate", "train", "val", "shade"),
    [
        param(cifar10, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9], [5, 9], (0, 50, 0), id="cifar10"),
        param(cifar100, [99], [1], (0, 0, 0), id="cifar100"),
        param(fashionmnist, [3, 1, 2], [0], (40, 40, 40), id="fashionmnist"),
        param(flowers102, [101, 101, 4, 4], [0, 6], (20, 20, 20), id="flowers102"),
        param(food101, [0, 1], [1], (50, 50, 50), id="food101"),
        param(stanfordcars, [1, 0], [1, 0], (60, 60, 60), id="stanfordcars"),
        param(fgvcaircraft, [1, 0], [0], (10, 10, 10), id="fgvcaircraft"),
        param(oxfordpets, [0, 1], [1, 0], (70, 70, 70), id="oxfordpets"),
        param(caltech101, [0] * 30 + [1] * 30, [0] * 3 + [1] * 10, (80, 80, 80), id="caltech101"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_files_that_are_there_are_read_with_the_official_split(
    tmp_path: Path, imitate: Callable[[Path], None], train: list[int], val: list[int], shade: tuple[int, ...]
) -> None:
    imitate(tmp_path)
    training, validation = build(DataConfig(imitate.__name__, root=str(tmp_path)))
    assert sorted(training.targets.tolist()) == sorted(train)
    assert validation.targets.tolist() == val
    assert np.abs(np.subtract(validation.load(0).getpixel((4, 4)), shade)).max() <= 2
    assert len(training.class_names) > max(train + val)


@pytest.fixture
def offline(monkeypatch: MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize(
    ("name", "url", "folder"),
    [
        param("cifar10", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "", id="cifar10"),
        param("cifar100", "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "", id="cifar100"),
        param("fashionmnist", "/t10k-labels-idx1-ubyte.gz", "/FashionMNIST/raw", id="fashionmnist"),
        param("flowers102", "/102flowers.tgz, https://", "/flowers-102", id="flowers102"),
        param("food101", "/food-101.tar.gz", "", id="food101"),
        param("fgvcaircraft", "/fgvc-aircraft-2013b.tar.gz", "", id="fgvcaircraft"),
        param("oxfordpets", "/annotations.tar.gz", "/oxford-iiit-pet", id="oxfordpets"),
        param("caltech101", "/caltech-101.zip", "/caltech101", id="caltech101"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_offline_one_line_says_which_file_to_put_where(tmp_path: Path, name: str, url: str, folder: str) -> None:
    with pytest.raises(RunError) as caught:
        build(DataConfig(name, root=str(tmp_path), download=True))
    line = str(caught.value)
    assert line.startswith(f"data={name}: cannot be downloaded: ")
    assert url in line
    assert f" into {tmp_path}{folder} and use data.download=true" in line
    assert "not known" in line and "\n" not in line


def test_cars_are_no_longer_offered_and_the_line_names_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"put devkit/cars_meta.mat, .* into {tmp_path}/stanford_cars$"):
        build(DataConfig("stanfordcars", root=str(tmp_path)))


def test_nothing_is_downloaded_unless_asked_for(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **_: asked.append(args))
    with pytest.raises(RunError, match=f"data=cifar10: not usable in {tmp_path}: .*use data.download=true"):
        build(DataConfig("cifar10", root=str(tmp_path)))
    assert not asked
    assert not list(tmp_path.iterdir())


def test_a_damaged_set_is_a_run_error_too(tmp_path: Path) -> None:
    fgvcaircraft(tmp_path)
    (tmp_path / "fgvc-aircraft-2013b" / "data" / "variants.txt").unlink()
    with pytest.raises(RunError, match=r"data=fgvcaircraft: not usable .*variants.txt.*; put https://"):
        build(DataConfig("fgvcaircraft", root=str(tmp_path)))
