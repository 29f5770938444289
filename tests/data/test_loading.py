"""Loading processes start under every launcher, and their batches come through whatever memory there is."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import subprocess
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ghostlab.data import DataConfig, DataModule, loading
from tests.data.conftest import MakeFolder

HALVES = {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2}


@pytest.fixture(autouse=True)
def said_anew() -> None:
    loading._say_once.cache_clear()


def module(root: Path, workers: int = 2, **options: object) -> DataModule:
    cfg = DataConfig("imagefolder", str(root), batch_size=4, workers=workers, **{"image_size": 8, **options})  # type: ignore[arg-type]
    data = DataModule(cfg, seed=0)
    data.setup()
    return data


class Free:
    """A file system with so many bytes free."""

    f_frsize = 1

    def __init__(self, free: int) -> None:
        self.f_bavail = free


NEEDED = 2 * (2 * 2 + 2) * 4 * 3 * 8 * 8 * 4  # for batches of 4 images of 8 x 8 from two processes


@pytest.mark.parametrize(("free", "piped"), [(NEEDED, False), (NEEDED - 1, True), (0, True)])
def test_batches_are_the_same_through_shared_memory_and_through_pipes(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int, piped: bool
) -> None:
    root = make_folder(HALVES)
    wanted = [*module(root, workers=0).train_dataloader()]
    monkeypatch.setattr(os, "statvfs", lambda _: Free(free))
    loader = module(root).train_dataloader()
    assert (loader.collate_fn is not loading.collate) == piped
    assert ("/dev/shm has 0 MiB free, the batches of data.workers=2 may need" in caplog.text) == piped
    for one, other in zip(loader, wanted, strict=True):
        assert one.images.equal(other.images)
        assert one.index.equal(other.index)
        assert type(one) is type(other)


def test_larger_views_and_more_processes_of_a_run_need_more(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(HALVES)
    monkeypatch.setattr(os, "statvfs", lambda _: Free(NEEDED))
    assert module(root).train_dataloader().collate_fn is loading.collate
    assert module(root, image_size=9).train_dataloader().collate_fn is not loading.collate
    assert module(root, workers=3).train_dataloader().collate_fn is not loading.collate
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert module(root).train_dataloader().collate_fn is not loading.collate


def test_without_a_place_for_shared_memory_there_are_no_processes(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder(HALVES)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert module(root).train_dataloader().num_workers == 0
    assert "data.workers=0, for processes share memory in /dev/shm, which cannot be written" in caplog.text


def loaded_with_little_shared_memory(root: Path, sent: Connection) -> None:
    """For a process of its own, which gets a /dev/shm of 1 MiB; sends the sizes of batches, None without the right."""
    new_mounts = 0x20000
    if ctypes.CDLL(None).unshare(new_mounts):
        sent.send(None)
        return
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"], check=True)
    sent.send([len(batch.targets) for batch in module(root, image_size=256).train_dataloader()])


def test_a_small_shared_memory_is_enough(make_folder: MakeFolder) -> None:
    received, sent = multiprocessing.Pipe(duplex=False)
    forked = multiprocessing.get_context("fork")
    process = forked.Process(target=loaded_with_little_shared_memory, args=(make_folder(HALVES), sent))
    process.start()
    assert received.poll(100), "it hangs"
    sizes = received.recv()
    process.join()
    if sizes is None:
        pytest.skip("needs the right to mount a small /dev/shm")
    assert sizes == [4, 4]


@pytest.mark.parametrize("method", [None, *multiprocessing.get_all_start_methods()])
def test_processes_start_whatever_method_others_have_chosen(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, method: str | None
) -> None:
    root = make_folder(HALVES)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        assert sum(len(batch.targets) for batch in module(root, workers=1).train_dataloader()) == 8
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_what_processes_are_given_can_be_sent_to_those_that_are_not_forked(make_folder: MakeFolder) -> None:
    loader = module(make_folder(HALVES)).train_dataloader()
    dataset, _ = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    assert dataset[0, 3, 0].image.equal(loader.dataset[0, 3, 0].image)
