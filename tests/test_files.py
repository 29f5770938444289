"""Files are there whole or not at all, and what the system refuses is one line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from safetensors.torch import save_file

from ghostlab.errors import RunError, WriteError
from ghostlab.files import require_writable, write_file, write_files, write_text, writing
from tests.disks import Disk, disk

__all__ = ["disk"]


def test_of_files_that_belong_together_none_is_replaced_where_one_finds_no_room(disk: Disk) -> None:
    small = disk("64k")
    files = {small / "a": lambda path: path.write_text("old"), small / "b": lambda path: path.write_text("old")}
    write_files(files)
    with pytest.raises(WriteError, match=r"/b: cannot be written: No space left on device"):
        write_files({**files, small / "a": lambda path: path.write_text("new"), small / "b": _too_much})
    assert {file.name: file.read_text() for file in small.iterdir()} == {"a": "old", "b": "old"}


def test_what_a_library_says_about_a_full_disk_is_said_of_the_file(disk: Disk) -> None:
    small = disk("64k")
    with pytest.raises(WriteError, match=r"x\.safetensors: cannot be written: .*No space left on device") as caught:
        write_file(small / "x.safetensors", lambda path: save_file({"x": torch.zeros(2**16)}, path))
    assert caught.value.__cause__ is not None and "\n" not in str(caught.value)
    assert list(small.iterdir()) == []


def test_several_threads_may_write_one_file(tmp_path: Path) -> None:
    both = Barrier(2)

    def fill(path: Path) -> None:
        both.wait(10)
        path.write_text("text")
        both.wait(10)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: write_file(tmp_path / "a", fill), range(2)))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["text"]


def test_it_is_a_known_failure_and_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for kind in (RunError, OSError):
        with pytest.raises(kind, match=r"below: cannot be written: .*file is not a folder"):
            write_text(tmp_path / "file/below", "text")
    with pytest.raises(ValueError, match="another"), writing(tmp_path):
        raise ValueError("another")


def test_whether_a_folder_takes_files_is_known_before_it_is_made(tmp_path: Path, disk: Disk) -> None:
    require_writable(tmp_path / "new/deep")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match="new: cannot be written: Read-only file system"):
        require_writable(disk("64k", read_only=True) / "new")


def _too_much(path: Path) -> None:
    path.write_bytes(bytes(2**17))
