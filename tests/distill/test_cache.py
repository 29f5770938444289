"""Answers on disk: what is kept of them, and what a killed build leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest import approx, param

from ghostlab.distill.cache import (
    FLOOR,
    AnswerCache,
    Header,
    compress_logits,
    expand_logits,
    fingerprint_difference,
    refuse_mismatch,
)
from ghostlab.errors import RunError, UsageError

IMAGES, CLASSES, K = 5, 7, 3
HEADER = Header({"data": {"images": IMAGES}}, IMAGES, CLASSES, K, "teacher tiny: top-1 98.6", 98.6)


def entries(index: list[int], epoch: int) -> np.ndarray:
    made = np.zeros(len(index), HEADER.entry)
    made["seed"] = [2**32 - 1 - 10 * epoch - i for i in index]
    made["classes"] = [[i, 6, 2] for i in index]
    made["probabilities"] = [[0.5, 0.25, 0.1 + epoch / 100]] * len(index)
    return made


def write(cache: AnswerCache, epoch: int, index: list[int], done: int) -> None:
    cache.write(epoch, np.array(index), entries(index, epoch), done)


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    """One epoch and a part of the second, in an order of its own."""
    made = AnswerCache.create(tmp_path / "cache", HEADER)
    write(made, 0, [3, 0], 2)
    write(made, 0, [1, 4, 2], 5)
    write(made, 1, [2, 4], 7)
    return made


def test_the_most_probable_classes_are_kept() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.25, 0.05], [0.3, 0.15, 0.15, 0.4]]).log() + 5
    classes, probabilities = compress_logits(logits, 2)
    assert (classes.dtype, probabilities.dtype) == (np.uint16, np.float16)
    assert classes.tolist() == [[1, 2], [3, 0]]
    assert probabilities.tolist() == [approx([0.6, 0.25], rel=1e-3), approx([0.4, 0.3], rel=1e-3)]


def test_the_rest_is_shared_out_evenly() -> None:
    full = expand_logits(torch.tensor([[4, 1]]), torch.tensor([[0.5, 0.25]]), 5).exp()
    assert full.tolist() == [approx([0.25 / 3, 0.25, 0.25 / 3, 0.25 / 3, 0.5], rel=1e-6)]


@pytest.mark.parametrize(
    ("kept", "floor"),
    [param([1.0, 0.0], FLOOR, id="nothing-left"), param([0.9995, 0.001], FLOOR, id="rounded-above-1")],
)
def test_a_class_without_mass_stays_finite(kept: list[float], floor: float) -> None:
    assert expand_logits(torch.tensor([[0, 1]]), torch.tensor([kept]), 3)[0, 2].exp().item() == approx(floor)


def test_all_classes_kept_are_the_answer_to_half_precision() -> None:
    logits = 3 * torch.randn(64, 10)
    classes, probabilities = (torch.from_numpy(a.astype(np.float32)) for a in compress_logits(logits, 10))
    again = expand_logits(classes, probabilities, 10).softmax(1)
    torch.testing.assert_close(again, logits.softmax(1), rtol=2e-3, atol=1e-7)


def test_indices_reach_the_largest_number_of_classes() -> None:
    logits = torch.zeros(1, 2**16)
    logits[0, -1] = 20
    classes, probabilities = compress_logits(logits, 1)
    assert classes.tolist() == [[2**16 - 1]]
    assert (
        expand_logits(torch.from_numpy(classes.astype(np.int32)), torch.from_numpy(probabilities), 2**16).argmax()
        == 2**16 - 1
    )


def test_an_entry_takes_4_k_and_4_bytes_and_the_file_no_more(cache: AnswerCache) -> None:
    assert HEADER.entry.itemsize == 4 * K + 4
    assert (cache.folder / "answers.bin").stat().st_size == 2 * IMAGES * (4 * K + 4)
    assert (cache.done, cache.epochs, cache.size) == (7, 1, 7 * 16)


def test_what_is_written_is_read_in_any_order(cache: AnswerCache) -> None:
    opened = AnswerCache.open(cache.folder)
    assert opened is not None
    assert opened.header == HEADER
    order = np.array([4, 0, 2])
    assert np.array_equal(opened.read(0, order), entries([4, 0, 2], 0))
    assert opened.seeds(0, order).tolist() == [2**32 - 5, 2**32 - 1, 2**32 - 3]
    found = opened.lookup(1, torch.tensor([2, 4]))
    assert found["classes"].tolist() == [[2, 6, 2], [4, 6, 2]]
    assert found["probabilities"].tolist() == [approx([0.5, 0.25, 0.11], rel=1e-3)] * 2
    logits = opened.logits(opened.lookup(0, torch.tensor([3])))
    assert logits.exp().tolist() == [approx([0.15 / 4, 0.15 / 4, 0.1, 0.5, 0.15 / 4, 0.15 / 4, 0.25], rel=1e-2)]


def test_epochs_are_added_to_a_cache(cache: AnswerCache) -> None:
    opened = AnswerCache.open(cache.folder)
    assert opened is not None
    write(opened, 1, [0, 1, 3], 10)
    write(opened, 2, [0, 1, 2, 3, 4], 15)
    assert AnswerCache.open(cache.folder).epochs == 3  # type: ignore[union-attr]
    everything = np.arange(IMAGES)
    for epoch in range(3):
        assert np.array_equal(opened.read(epoch, everything), entries(list(range(IMAGES)), epoch))


def test_where_there_is_no_cache_none_is_opened(tmp_path: Path) -> None:
    assert AnswerCache.open(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        param("cache.json", "{", "not a cache of answers", id="broken-header"),
        param("cache.json", '{"k": 3}', "not a cache of answers", id="other-header"),
        param("done.txt", "many", "not a cache of answers", id="broken-count"),
        param("answers.bin", "short", "answers.bin has 5 bytes, less than the 112 written", id="truncated"),
    ],
)
def test_a_damaged_cache_is_named_in_one_line(cache: AnswerCache, file: str, content: str, message: str) -> None:
    (cache.folder / file).write_text(content)
    with pytest.raises(RunError, match=message) as refused:
        AnswerCache.open(cache.folder)
    assert str(refused.value).startswith(str(cache.folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ours", "named"),
    [
        param({"a": {"b": 1, "c": (2, 3)}}, None, id="same"),
        param({"a": {"b": 5, "c": [2, 3]}}, "a.b is 1 there, 5 here", id="value"),
        param({"a": {"b": 1, "c": [2, 4]}}, "a.c.1 is 3 there, 4 here", id="in-a-list"),
        param({"a": {"b": 1, "c": [2]}}, r"a.c is \[2, 3\] there, \[2\] here", id="list"),
        param({"a": {"b": 1}}, r"a.c is \[2, 3\] there, absent here", id="missing"),
        param({"a": {"b": 1, "c": [2, 3], "d": {"e": 9}}}, "a.d is absent there", id="more"),
    ],
)
def test_the_difference_of_a_fingerprint_is_named(tmp_path: Path, ours: dict, named: str | None) -> None:
    cache = AnswerCache(tmp_path, HEADER._replace(fingerprint={"a": {"b": 1, "c": [2, 3]}}))
    if named is None:
        refuse_mismatch(cache, ours)
        assert fingerprint_difference(json.loads(json.dumps(ours)), cache.header.fingerprint) is None
    else:
        with pytest.raises(UsageError, match=named):
            refuse_mismatch(cache, ours)
