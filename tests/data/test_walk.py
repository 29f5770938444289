"""Whatever a walk over folders meets: each real image counts once, and what is left out is counted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest import param

from ghostlab.data.walk import FoundImages, LeftOut, LeftOutKind, find_images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``root/a`` with two images and ``root/b`` with one; ``store`` beside it with one."""
    for name in ("root/a/1.png", "root/a/deep/2.png", "root/b/3.png", "store/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "root"


def walked(root: Path, *folders: str) -> tuple[FoundImages, LeftOut]:
    left_out = LeftOut()
    return find_images([str(root / name) for name in folders or ("a", "b")], left_out), left_out


def names(found: FoundImages, root: Path) -> list[list[str]]:
    return [[os.path.relpath(path, root) for path in images] for images in found.images]


def circle(root: Path) -> None:
    (root / "a/deep/circle").symlink_to(root / "a")


def to_itself(root: Path) -> None:
    (root / "a/self").symlink_to("self")
    (root / "a/self.png").symlink_to("self.png")


def to_parents(root: Path) -> None:
    (root / "a/up").symlink_to("..")
    (root / "a/deep/above").symlink_to("../../..")
    (root / "b/everything").symlink_to("/")


def dangling(root: Path) -> None:
    (root / "a/gone.png").symlink_to("nowhere.png")
    (root / "b/gone").symlink_to(root / "nowhere")


def to_another_class(root: Path) -> None:
    (root / "a/b").symlink_to(root / "b")
    (root / "a/3.png").symlink_to(root / "b/3.png")


def to_itself_in_the_class(root: Path) -> None:
    (root / "a/0.png").symlink_to("1.png")
    os.link(root / "a/1.png", root / "a/9.png")
    (root / "a/a").symlink_to("deep")


def hidden(root: Path) -> None:
    for name in (".git", "a/.thumbnails", "b/.cache", "a/deep/.ipynb_checkpoints"):
        (root / name).mkdir(parents=True)
        (root / name / "5.png").touch()
    (root / "a/._1.png").touch()
    (root / "a/.DS_Store").touch()


def thumbnails(root: Path) -> None:
    for name in ("a/@eaDir", "a/deep/Thumbnails", "b/__MACOSX", "b/$RECYCLE.BIN"):
        (root / name).mkdir(parents=True)
        (root / name / "5.png").touch()


def others(root: Path) -> None:
    (root / "a/notes.txt").touch()
    (root / "a/README").touch()
    (root / "b/png").touch()
    (root / "b/3.png.json").symlink_to("../a/notes.txt")


def special(root: Path) -> None:
    os.mkfifo(root / "a/pipe.png")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(root / "b/socket.jpg"))
    (root / "a/null.png").symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("add", "expected"),
    [
        param(circle, {LeftOutKind.AGAIN_FOLDER: 1}, id="circle"),
        param(to_itself, {LeftOutKind.NOWHERE: 2}, id="to-itself"),
        param(to_parents, {LeftOutKind.AGAIN_FOLDER: 3}, id="to-parents"),
        param(dangling, {LeftOutKind.NOWHERE: 2}, id="dangling"),
        param(to_another_class, {LeftOutKind.AGAIN_FOLDER: 1, LeftOutKind.AGAIN: 1}, id="to-another-class"),
        param(to_itself_in_the_class, {LeftOutKind.AGAIN_FOLDER: 1, LeftOutKind.AGAIN: 2}, id="within-the-class"),
        param(hidden, {LeftOutKind.HIDDEN: 3, LeftOutKind.HIDDEN_IMAGES: 1}, id="hidden"),
        param(thumbnails, {LeftOutKind.SYSTEM: 4}, id="thumbnails"),
        param(others, {LeftOutKind.OTHER: 4}, id="others"),
        param(special, {LeftOutKind.SPECIAL: 3}, id="pipes-sockets-devices"),
    ],
)
def test_nothing_is_read_twice_or_that_is_no_image(
    root: Path, add: Callable[[Path], None], expected: dict[str, int]
) -> None:
    add(root)
    found, left_out = walked(root)
    assert [len(images) for images in found.images] == [2, 1]
    assert names(found, root)[1] == ["b/3.png"]
    assert dict(left_out.counts) == expected
    assert not found.shared


def test_links_to_folders_and_files_elsewhere_are_followed(root: Path) -> None:
    (root / "a/more").symlink_to(root.parent / "store")
    (root.parent / "other.png").touch()
    (root / "b/2.png").symlink_to(root.parent / "other.png")
    found, left_out = walked(root)
    assert names(found, root) == [["a/1.png", "a/deep/2.png", "a/more/4.png"], ["b/2.png", "b/3.png"]]
    assert not left_out.counts


def test_classes_may_be_links_and_a_real_folder_comes_first(root: Path) -> None:
    (root / "0").symlink_to(root / "b")
    (root / "c").symlink_to(root.parent / "store")
    found, left_out = walked(root, "0", "a", "b", "c")
    assert names(found, root) == [[], ["a/1.png", "a/deep/2.png"], ["b/3.png"], ["c/4.png"]]
    assert dict(left_out.counts) == {LeftOutKind.AGAIN_FOLDER: 1}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_image_that_two_folders_claim_alike_is_told(root: Path, link: Callable[[str, str], None]) -> None:
    for name in ("a/4.png", "b/x.png"):
        link(str(root.parent / "store/4.png"), str(root / name))
    found, left_out = walked(root)
    [(first, second)] = found.shared
    assert (first, second) == ((0, str(root / "a/4.png")), (1, str(root / "b/x.png")))
    assert dict(left_out.counts) == {LeftOutKind.AGAIN: 1}


def test_a_folder_within_another_that_is_asked_for_counts_once(root: Path) -> None:
    found, _ = walked(root, ".", "a/deep", "b/3.png", "b/3.png")
    assert sum(map(len, found.images)) == 3


def test_folders_without_permission_are_counted_and_the_others_read(root: Path, nobody: Callable[[], object]) -> None:
    (root / "a/deep").chmod(0)
    with nobody():
        found, left_out = walked(root)
    assert names(found, root) == [["a/1.png"], ["b/3.png"]]
    assert dict(left_out.counts) == {LeftOutKind.CLOSED: 1}


def test_names_need_not_be_utf8(root: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (root / odd).mkdir()
    (root / odd / f"{odd}.png").touch()
    (root / odd / f".{odd}.png").touch()
    found, left_out = walked(root, odd)
    assert len(found.images[0]) == 1
    assert left_out.summary(str(root)) == r"1 hidden images (caf\xe9/.caf\xe9.png)"


def test_what_is_left_out_is_told_in_one_line_with_examples(root: Path) -> None:
    hidden(root)
    for k in range(5):
        (root / f"b/{k}.txt").touch()
    _, left_out = walked(root)
    told = left_out.summary(str(root))
    assert "5 files without the suffix of an image (b/" in told
    assert told.count(".txt") == 3
    assert "1 hidden images (a/._1.png)" in told
    assert "\n" not in told
    assert LeftOut().summary("") == ""
