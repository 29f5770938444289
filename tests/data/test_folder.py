from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.data.config import DataConfig
from ghostlab.data.datasets import build
from ghostlab.errors import UsageError

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


def test_one_folder_is_split_class_by_class(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 8, "b": 16})
    train, val = build(config(root))
    assert np.bincount(train.targets).tolist() == [6, 12]
    assert np.bincount(val.targets).tolist() == [2, 4]
    assert not set(train.paths) & set(val.paths)  # type: ignore[attr-defined]
    assert all(Path(path).parent.name == "ab"[label] for path, label in zip(val.paths, val.targets, strict=True))  # type: ignore[attr-defined]


def test_the_split_changes_with_its_own_seed_only(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 20})
    first, again, other = (build(config(root, split_seed=seed))[1].paths for seed in (0, 0, 1))  # type: ignore[attr-defined]
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        param({}, {}, "data.root=.*: no class folders", id="empty"),
        param({"a": 3}, {}, "data.root=.*: one class folder \\('a'\\)", id="one-class"),
        param({"train/a": 3, "train/b": 3}, {}, "data.root=.*: has train/ only; expected train/ and val/", id="no-val"),
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


def test_a_missing_root_is_named_with_what_is_expected(tmp_path: Path) -> None:
    missing, file = tmp_path / "nowhere", tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=re.escape(f"data.root={missing}: no such folder; expected train/ and val/")):
        build(config(missing))
    with pytest.raises(UsageError, match=re.escape(f"data.root={file}: not a folder")):
        build(config(file))
