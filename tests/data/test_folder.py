from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.data.config import DataConfig
from ghostlab.data.datasets import build
from ghostlab.data.sources import Source
from ghostlab.errors import RunError, UsageError

MakeFolder = Callable[[Mapping[str, int]], Path]


def config(root: Path, **options: object) -> DataConfig:
    return DataConfig("imagefolder", root=str(root), **{"val_fraction": 0.25, "split_seed": 0, **options})  # type: ignore[arg-type]


def test_train_and_val_folders_are_the_split(make_folder: MakeFolder) -> None:
    root = make_folder({"train/dog": 4, "train/cat": 2, "val/cat": 1, "val/dog": 3})
    train, val = build(config(root))
    assert train.class_names == val.class_names == ["cat", "dog"]
    assert train.targets.tolist() == [0, 0, 1, 1, 1, 1]
    assert val.targets.tolist() == [0, 1, 1, 1]
    expected = np.array(Image.open(root / "val" / "dog" / "2.png"))
    assert np.array_equal(np.array(val.load(3)), expected)


def test_images_in_deeper_folders_count_and_other_files_do_not(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a/deep/er": 2, "train/b": 1, "val/a": 1, "val/b": 1})
    (root / "train" / "a" / "notes.txt").touch()
    (root / "train" / "a" / "._0.png").touch()
    (root / "train" / ".cache").mkdir()
    shutil.copy(root / "val" / "a" / "0.png", root / "train" / "b" / "UPPER.PNG")
    train, _ = build(config(root))
    assert train.targets.tolist() == [0, 0, 1, 1]
    assert [Path(path).name for path in train.paths] == ["0.png", "1.png", "0.png", "UPPER.PNG"]  # type: ignore[attr-defined]


def paths(source: Source) -> set[str]:
    return set(source.paths)  # type: ignore[attr-defined]


def test_one_folder_is_split_class_by_class(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 100, "b": 300})
    train, val = build(config(root))
    assert (np.bincount(train.targets) + np.bincount(val.targets)).tolist() == [100, 300]
    assert 15 < np.bincount(val.targets)[0] < 35
    assert 55 < np.bincount(val.targets)[1] < 95
    assert not paths(train) & paths(val)
    assert all(Path(path).parent.name == "ab"[label] for path, label in zip(val.paths, val.targets, strict=True))  # type: ignore[attr-defined]


def test_the_split_changes_with_its_own_seed_only(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 20})
    first, again, other = (paths(build(config(root, split_seed=seed))[1]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def contents(source: Source) -> set[bytes]:
    return {Path(path).read_bytes() for path in paths(source)}


def test_images_that_are_added_renamed_or_removed_do_not_move_the_others(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 30, "b": 30})
    train, val = map(contents, build(config(root)))
    for file in [*(root / "a").iterdir()]:
        file.rename(root / "a" / f"new{file.name}")
    (root / "b" / "7.png").unlink()
    noise = np.random.default_rng(1)
    for k in range(20):
        Image.fromarray(noise.integers(0, 256, (9, 9, 3), np.uint8)).save(root / "ab"[k % 2] / f"0{k}.png")
    later_train, later_val = map(contents, build(config(root)))
    assert not train & later_val
    assert not val & later_train
    assert len(later_train | later_val) == 79


def test_copies_of_an_image_are_on_the_same_side(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 20})
    for file in [*(root / "a").iterdir()]:
        shutil.copy(file, root / "b" / f"copy{file.name}")
    train, val = build(config(root))
    assert not contents(train) & contents(val)


def test_links_between_the_halves_and_the_classes_are_left_out_and_told(
    make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder({"train/a": 3, "train/b": 2, "val/a": 2, "val/b": 2, "test/a": 1})
    (root / "val/a/leak.png").symlink_to(root / "train/a/0.png")
    (root / "train/a/other").symlink_to(root / "train/b")
    (root / "train/.thumbs").mkdir()
    (root / "train/a/notes.txt").touch()
    (root / "train/loose.png").touch()
    (root / "train/gone").symlink_to("nowhere")
    (root / "train/up").symlink_to("..")
    train, val = build(config(root))
    assert train.targets.tolist() == [0, 0, 0, 1, 1]
    assert val.targets.tolist() == [0, 0, 1, 1]
    [told] = [record.getMessage() for record in caplog.records]
    for part in (
        "1 folders beside train/ and val/ (test)",
        "1 further names of images that are read already (val/a/leak.png)",
        "2 links to folders that are read already (train/a/other, train/up)",
        "1 hidden folders (train/.thumbs)",
        "1 files without the suffix of an image (train/a/notes.txt)",
        "1 images outside of class folders (train/loose.png)",
        "1 links that lead nowhere (train/gone)",
    ):
        assert part in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "names",
    [("train", "val"), ("Train", "Val"), ("training", "Validation"), ("TRAIN", "valid")],
)
def test_the_halves_may_be_written_in_other_ways(make_folder: MakeFolder, names: tuple[str, str]) -> None:
    train, val = build(config(make_folder({f"{half}/{name}": 2 for half in names for name in "ab"})))
    assert (len(train.targets), len(val.targets)) == (4, 4)
    assert train.class_names == ["a", "b"]


def test_train_may_be_a_class(make_folder: MakeFolder) -> None:
    assert build(config(make_folder({"bus": 2, "train": 2})))[0].class_names == ["bus", "train"]
    halves = {f"{half}/{name}": 1 for half in ("Train", "Val") for name in ("bus", "train")}
    shutil.rmtree(make_folder({}))
    assert build(config(make_folder(halves)))[0].class_names == ["bus", "train"]


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_names_that_differ_in_their_unicode_form_are_one_class(
    make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder({f"train/{COMPOSED}": 2, "train/tea": 1, f"val/{DECOMPOSED}": 1, "val/tea": 1})
    train, val = build(config(root))
    assert train.class_names == val.class_names == [COMPOSED, "tea"]
    assert not caplog.records
    make_folder({f"train/{DECOMPOSED}": 3})
    train, _ = build(config(root))
    assert train.class_names == [COMPOSED, "tea"]
    assert train.targets.tolist() == [0] * 5 + [1]
    assert f"2 folders whose names look the same are the class {COMPOSED}" in caplog.text


def test_names_need_not_be_utf8(make_folder: MakeFolder) -> None:
    odd = os.fsdecode(b"caf\xe9")
    train, val = build(config(make_folder({odd: 5, "tea": 5})))
    assert train.class_names == val.class_names == [r"caf\xe9", "tea"]
    assert all(source.load(0).mode == "RGB" for source in (train, val))
    json.dumps(list(train.class_names)).encode()


def test_a_folder_without_permission_stops_the_run_or_is_left_out_and_told(
    make_folder: MakeFolder, nobody: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder({"a": 2, "a/deep": 3, "b": 4})
    (root / "a/deep").chmod(0)
    with nobody(), pytest.raises(RunError, match=r"the folder .*/a/deep cannot be opened; data\.on_error=skip"):
        build(config(root))
    with nobody():
        train, val = build(config(root, on_error="skip"))
    assert len(train.targets) + len(val.targets) == 6
    assert "1 folders that cannot be opened (a/deep)" in caplog.text


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        param({}, {}, "data.root=.*: no class folders", id="empty"),
        param({"a": 3}, {}, "data.root=.*: one class folder \\('a'\\)", id="one-class"),
        param(
            {"train/a": 3, "train/b": 3},
            {},
            "data.root=.*: has train/ only and no val/; expected train/ and val/",
            id="no-val",
        ),
        param(
            {"a": 3, "b": 0}, {}, "data.root=.*: no images in the class folder .*/b; read are .jpg", id="empty-class"
        ),
        param(
            {"train/a": 1, "train/b": 0, "val/a": 1, "val/b": 1},
            {},
            "no images in the class folder .*/train/b",
            id="empty-train-class",
        ),
        param(
            {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/c": 1},
            {},
            "data.root=.*: train/ and val/ must have the same classes; in val/ only: c",
            id="val-has-more-classes",
        ),
        param(
            {"train/a": 1, "train/b": 1, "train/c": 1, "val/a": 1, "val/b": 1},
            {},
            "in train/ only: c",
            id="train-has-more",
        ),
        param({"a": 1, "b": 3}, {}, "data.root=.*: class 'a' has one image", id="class-cannot-be-split"),
        param(
            {"Train/a": 2, "Train/b": 2, "Test/a": 2, "Test/b": 2},
            {},
            "has Test/ and Train/ only and no val/; .*what is to be validated on must be called val/",
            id="train-and-test",
        ),
        param({"Train": 2, "Test": 2}, {}, "Test/ and Train/ have no class folders", id="halves-without-classes"),
        param(
            {"set/train/a": 2, "set/train/b": 2, "set/val/a": 2, "set/val/b": 2},
            {},
            "one class folder \\('set'\\) in .*; is data.root=.*/set meant",
            id="one-level-too-high",
        ),
        param(
            {f"{name}/{half}/{c}": 1 for name in ("one", "two") for half in ("Train", "Test") for c in "ab"},
            {},
            "the class folder .*/one has Test/ and Train/ in it, which would be mixed; is data.root=.*/one meant",
            id="two-sets",
        ),
        param({"a": 2, "b": 2, "test/a": 2}, {}, "has test/ only and no train/ and val/", id="test-beside-classes"),
        param(
            {"train/a": 1, "train/b": 1, "Train/a": 1, "val/a": 1, "val/b": 1},
            {},
            "Train/ and train/ are both for train",
            id="train-twice",
        ),
        param(
            {"train/a": 1, "train/test/b": 1, "val/a": 1, "val/test": 1},
            {},
            "/train/test looks like a split beside class folders",
            id="test-in-train",
        ),
        param({"a": 3, "b": 3}, {"val_fraction": None}, "data.val_fraction=null: data.root=", id="no-fraction"),
        param({"a": 3, "b": 3}, {"num_classes": 7}, "data.num_classes=7: data=imagefolder has 2", id="other-number"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(
    make_folder: MakeFolder, counts: dict[str, int], options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build(config(make_folder(counts), **options))
    assert "\n" not in str(caught.value)


def test_an_image_of_two_classes_is_refused(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 3, "b": 3})
    Image.new("RGB", (8, 8)).save(root.parent / "store.png")
    for name in ("a", "b"):
        (root / name / "x.png").symlink_to(root.parent / "store.png")
    with pytest.raises(UsageError, match=r"a/x.png and .*b/x.png are links to the same image, which cannot be of two"):
        build(config(root))


def test_a_class_whose_images_are_all_copies_cannot_be_split(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 3})
    shutil.copy(root / "a/0.png", root / "a/1.png")
    with pytest.raises(UsageError, match="class 'a' has one image"):
        build(config(root))


def test_a_class_of_links_to_others_says_what_was_left_out(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 3, "b": 3})
    (root / "c").symlink_to(root / "a")
    with pytest.raises(UsageError, match=r"no images in the class folder .*/c; .*links to folders that are read alrea"):
        build(config(root))


def test_a_missing_root_is_named_with_what_is_expected(tmp_path: Path) -> None:
    missing, file = tmp_path / "nowhere", tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=re.escape(f"data.root={missing}: no such folder; expected train/ and val/")):
        build(config(missing))
    with pytest.raises(UsageError, match=re.escape(f"data.root={file}: not a folder")):
        build(config(file))
