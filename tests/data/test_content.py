"""Files are known by what is in them, and read again only when they have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest import param

from ghostlab.data import content
from ghostlab.data.content import content_hash, content_hashes


@pytest.fixture(autouse=True)
def few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "KEPT_FROM", 2)
    monkeypatch.setattr(content, "SETTLED", -(10**12))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Five files of different contents, of which one is large."""
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for k in range(5):
        (folder / f"{k}.png").write_bytes(noise.bytes(300_000 if k == 3 else 1000))
    return sorted(map(str, folder.iterdir()))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose contents are read from now on."""
    read: list[str] = []
    monkeypatch.setattr(content, "content_hash", lambda path: read.append(path) or content_hash(path))
    return read


def test_a_hash_is_that_of_the_content_under_any_name(files: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.jpg"
    copy.write_bytes(Path(files[3]).read_bytes())
    assert content_hash(str(copy)) == content_hash(files[3])
    assert len(set(map(content_hash, files))) == 5


@pytest.mark.parametrize("size", [100, 64 * 1024, 64 * 1024 + 1, 10**6])
@pytest.mark.parametrize("place", [param(0, id="begin"), param(-1, id="end"), param(None, id="one-byte-more")])
def test_what_changes_at_the_begin_at_the_end_or_in_length_is_seen(
    tmp_path: Path, size: int, place: int | None
) -> None:
    file, data = tmp_path / "a", bytearray(size)
    file.write_bytes(data)
    before = content_hash(str(file))
    if place is None:
        data.append(0)
    else:
        data[place] = 1
    file.write_bytes(data)
    assert content_hash(str(file)) != before


def test_hashes_are_kept_and_files_not_read_again(files: list[str], reads: list[str], tmp_path: Path) -> None:
    first = content_hashes(files, tmp_path / "kept")
    assert first.dtype == np.uint64
    assert first.tolist() == [content_hash(path) for path in files]
    assert len(reads) == 5
    assert content_hashes(files[::-1], tmp_path / "kept").tolist() == first[::-1].tolist()
    assert content_hashes(files[1:], tmp_path / "kept").tolist() == first[1:].tolist()
    assert len(reads) == 5


def rewritten(path: Path) -> None:
    """Other bytes of the same length with the same time of modification, as copying programs leave them."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"other")


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_changed_file_is_read_again(
    files: list[str], reads: list[str], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    first = content_hashes(files, tmp_path / "kept")
    reads.clear()
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    change(Path(files[2]))
    second = content_hashes(files, tmp_path / "kept")
    assert reads == [files[2]]
    assert (first != second).tolist() == [False, False, True, False, False]


def test_a_file_that_was_written_a_moment_ago_is_not_trusted(
    files: list[str], reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "SETTLED", 60 * 10**9)
    content_hashes(files, tmp_path / "kept")
    content_hashes(files, tmp_path / "kept")
    assert len(reads) == 10


def test_what_cannot_be_read_counts_by_name_and_is_tried_again(files: list[str], tmp_path: Path) -> None:
    Path(files[1]).unlink()
    Path(files[1]).mkdir()
    broken = content_hashes(files, tmp_path / "kept")
    assert len(set(broken.tolist())) == 5
    Path(files[1]).rmdir()
    Path(files[1]).write_bytes(b"back")
    assert (content_hashes(files, tmp_path / "kept") != broken).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None], ids=["empty", "no-archive", "cut"])
def test_a_damaged_cache_is_made_again(files: list[str], tmp_path: Path, damage: bytes | None) -> None:
    first = content_hashes(files, tmp_path / "kept")
    [kept] = (tmp_path / "kept").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-40] if damage is None else damage)
    assert content_hashes(files, tmp_path / "kept").tolist() == first.tolist()


def test_without_a_place_for_the_cache_the_hashes_are_made_each_time_and_that_is_said(
    files: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert content_hashes(files, tmp_path / "file").tolist() == [content_hash(path) for path in files]
    assert "are not kept" in caplog.text


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    for k, name in enumerate([b"caf\xe9.png", b"caf\xc3\xa9.png"]):
        (tmp_path / os.fsdecode(name)).write_bytes(bytes([k]))
    names = sorted(str(path) for path in tmp_path.iterdir())
    first = content_hashes(names, tmp_path / "kept")
    assert content_hashes(names, tmp_path / "kept").tolist() == first.tolist()
