"""Images that are decoded once are the same images, and the same errors."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ghostlab.data import DataConfig, DataModule
from ghostlab.data.content import digest
from ghostlab.data.decoded import INDEX, PIXELS, DecodedSource, decode_once, decoded_bytes
from ghostlab.data.folder import scan_class_folders
from ghostlab.data.sources import FileSource, MemorySource, UnreadableError, read_image
from ghostlab.errors import RunError
from tests.data.conftest import MakeFolder


@pytest.fixture
def source(make_folder: MakeFolder) -> FileSource:
    """Two images each of two classes: plain, of another size and turned by EXIF, with a palette, and damaged."""
    root = make_folder({"a": 2, "b": 2})
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 10), (9, 90, 200)).save(root / "a/1.png", exif=turned)
    Image.open(root / "b/0.png").quantize(5).save(root / "b/0.png")
    (root / "b/1.png").write_bytes(b"no image")
    return scan_class_folders(root, "data.root")


def config(folder: Path) -> DataConfig:
    return DataConfig("imagefolder", "anywhere", decoded=str(folder))


def decode(source: FileSource, folder: Path) -> DecodedSource:
    made = decode_once(source, config(folder))
    assert isinstance(made, DecodedSource)
    return made


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


def test_decoded_images_are_those_of_the_files(source: FileSource, tmp_path: Path) -> None:
    kept = decode(source, tmp_path / "kept")
    assert all(same(kept.load(i), read_image(source.paths[i])) for i in (0, 1, 2))
    assert kept.load(1).size == (10, 30)
    with pytest.raises(UnreadableError) as error:
        kept.load(3)
    assert (error.value.path, error.value.reason) == (source.paths[3], "not an image")
    assert list(kept.targets) == [0, 0, 1, 1]
    assert digest(kept) == digest(source)


def test_processes_are_sent_the_name_of_the_file_and_not_its_content(source: FileSource, tmp_path: Path) -> None:
    kept = decode(source, tmp_path / "kept")
    before = len(pickle.dumps(kept))
    assert same(pickle.loads(pickle.dumps(kept)).load(1), kept.load(1))
    assert len(pickle.dumps(kept)) == before


def test_files_are_decoded_once(source: FileSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode(source, tmp_path / "kept")
    monkeypatch.setattr("ghostlab.data.decoded.read_image", None)
    assert same(decode(source, tmp_path / "kept").load(0), read_image(source.paths[0]))


@pytest.mark.parametrize("name", [PIXELS, INDEX])
def test_a_damaged_file_is_made_again(source: FileSource, tmp_path: Path, name: str) -> None:
    decode(source, tmp_path / "kept")
    [file] = (tmp_path / "kept").rglob(name)
    file.write_bytes(file.read_bytes()[:-1])
    assert same(decode(source, tmp_path / "kept").load(1), read_image(source.paths[1]))


def test_a_changed_file_is_decoded_anew(source: FileSource, tmp_path: Path) -> None:
    decode(source, tmp_path / "kept")
    file = Path(source.paths[0])
    size, pixels = file.stat().st_size, np.asarray(Image.open(file)).copy()
    Image.fromarray(pixels[::-1]).save(file)
    with file.open("ab") as opened:
        opened.truncate(size)
    assert same(decode(source, tmp_path / "kept").load(0), read_image(source.paths[0]))


def test_an_interrupted_decoding_leaves_nothing_that_counts(
    source: FileSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ghostlab.data.decoded.write_text", interrupt)
        decode(source, tmp_path / "kept")
    assert same(decode(source, tmp_path / "kept").load(0), read_image(source.paths[0]))


def test_processes_that_want_the_same_images_wait_for_one_another(source: FileSource, tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        images = pool.starmap(first_pixels, [(source, tmp_path / "kept")] * 3)
    assert all(np.array_equal(one, images[0]) for one in images)
    assert len(list((tmp_path / "kept").rglob(PIXELS))) == 1


def test_what_does_not_fit_or_has_no_files_stays_as_it_is(source: FileSource, tmp_path: Path) -> None:
    assert decoded_bytes(source) == 3 * (20 * 24 + 30 * 10 + 20 * 24)
    little = DataConfig("imagefolder", str(tmp_path), decoded=str(tmp_path / "kept"), decoded_gib=1e-7)
    enough = DataConfig("imagefolder", str(tmp_path), decoded=str(tmp_path / "kept"), decoded_gib=1e-5)
    memory = MemorySource(np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.int64), ["a", "b"])
    assert decode_once(source, DataConfig("imagefolder", str(tmp_path))) is source
    assert decode_once(source, little) is source
    assert decode_once(memory, enough) is memory
    assert isinstance(decode_once(source, enough), DecodedSource)


def test_a_full_disk_keeps_new_files_away_and_not_those_that_are_there(
    source: FileSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_once(source, config(tmp_path / "there"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert isinstance(decode_once(source, config(tmp_path / "there")), DecodedSource)
    assert decode_once(source, config(tmp_path / "new")) is source


def test_what_a_killed_process_left_is_removed(source: FileSource, tmp_path: Path) -> None:
    decode(source, tmp_path / "kept")
    [folder] = (tmp_path / "kept/imagefolder").iterdir()
    (folder / INDEX).unlink()
    (folder / ".pixels.1.bin").write_bytes(b"half of it")
    decode(source, tmp_path / "kept")
    assert {file.name for file in folder.iterdir()} == {".lock", PIXELS, INDEX}


@contextmanager
def files_at_once(count: int) -> Iterator[None]:
    """This process may open so many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(count + 1)]  # numbers are taken from the lowest on, and may have gaps
    for number in free:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_errors_of_the_system_are_not_kept(
    source: FileSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_image(source.paths[0])  # loads what Pillow needs
    with files_at_once(2):  # of which the lock and the file of pixels are two
        kept = decode(source, tmp_path / "kept")
    assert "4 of 4 images could not be read to be decoded once" in caplog.text
    with files_at_once(0), pytest.raises(UnreadableError, match="Too many open files"):
        kept.load(0)
    assert same(kept.load(0), read_image(source.paths[0]))
    caplog.clear()
    check_images(decode(source, tmp_path / "kept"), source)
    assert not caplog.records


def check_images(kept: DecodedSource, source: FileSource) -> None:
    """All of ``source`` are decoded, but for the last one, which is no image."""
    assert [entry.unreadable for entry in kept.entries] == [None, None, None, "not an image"]
    assert not any(entry.absent for entry in kept.entries)
    assert all(same(kept.load(i), read_image(source.paths[i])) for i in (0, 1, 2))


def test_errors_that_an_earlier_version_kept_are_tried_again(source: FileSource, tmp_path: Path) -> None:
    decode(source, tmp_path / "kept")
    [index] = (tmp_path / "kept").rglob(INDEX)
    pixels = index.with_name(PIXELS)
    first = 3 * 20 * 24
    entries = [[0, 0, 0, "Too many open files"], [0, 30, 10, None], [900, 20, 24, None], [2340, 0, 0, "not an image"]]
    index.write_text(json.dumps(entries))
    pixels.write_bytes(pixels.read_bytes()[first:])
    check_images(decode(source, tmp_path / "kept"), source)
    assert len(json.loads(index.read_text())["images"]) == 4


def test_what_can_be_used_is_used_where_there_is_no_room_for_the_rest(source: FileSource, tmp_path: Path) -> None:
    with files_at_once(2):
        decode(source, tmp_path / "kept")
    [pixels] = (tmp_path / "kept").rglob(PIXELS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        kept = decode(source, tmp_path / "kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert pixels.stat().st_size == 0
    assert same(kept.load(0), read_image(source.paths[0]))


def test_a_folder_that_cannot_be_made_is_named(source: FileSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"data\.decoded=.*file: Not a directory; data\.decoded=null decodes every time"):
        decode_once(source, config(tmp_path / "file"))


def test_batches_are_the_same_to_the_bit(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    cfg = {"name": "imagefolder", "root": str(root), "image_size": 16, "batch_size": 4, "workers": 0}
    plain, kept = (
        DataModule(DataConfig(**cfg, decoded=folder), seed=0)  # type: ignore[arg-type]
        for folder in (None, str(tmp_path / "kept"))
    )
    for data in (plain, kept):
        data.setup()
    assert isinstance(kept.train_source, DecodedSource)
    for loader in ("train_dataloader", "val_dataloader"):
        for one, other in zip(getattr(plain, loader)(), getattr(kept, loader)(), strict=True):
            assert one.images.equal(other.images)
            assert one.index.equal(other.index)


def first_pixels(source: FileSource, folder: Path) -> np.ndarray:
    return np.asarray(decode(source, folder).load(0))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
