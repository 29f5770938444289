"""The peak memory of a run is its own, wherever it stands in its process, or is not given."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from pytest import MonkeyPatch

from ghostlab.training import memory
from ghostlab.training.classifier import Classifier
from ghostlab.training.history import History
from ghostlab.training.memory import PeakMemory
from ghostlab.training.metrics import max_or_none

CPU = torch.device("cpu")


def hold(mib: int) -> None:
    torch.ones(mib * 2**18).sum()


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="only Linux can count anew")
def test_a_small_run_after_a_large_one_has_a_small_figure() -> None:
    figures = []
    for mib in (10, 300, 10):
        peak = PeakMemory(CPU)
        hold(mib)
        figures.append(peak.mib())
    small, large, again = figures
    assert small and large and again
    assert large - small > 250
    assert abs(again - small) < 50


@pytest.fixture
def cannot_reset(monkeypatch: MonkeyPatch, tmp_path: Path) -> None:
    """As on macOS, or where a container forbids it."""
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path)  # a folder cannot be written
    monkeypatch.setattr(memory, "STATUS", tmp_path / "missing")


def test_where_the_system_cannot_count_anew_only_a_new_maximum_is_given(cannot_reset: None) -> None:
    before = PeakMemory(CPU)
    assert before.mib() is None
    hold(int(memory._most_resident() or 0) + 200)
    found = before.mib()
    assert found is not None
    after = PeakMemory(CPU)
    hold(10)
    assert after.mib() is None


def test_a_system_that_does_not_count_has_no_figure(cannot_reset: None, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert PeakMemory(CPU).mib() is None


@pytest.mark.parametrize(
    ("parts", "expected"), [([1.0, 3.0, 2.0], 3.0), ([1.0, None], None), ([0.0], 0.0), ([None, None], None)]
)
def test_the_most_is_not_known_where_a_part_is_not(parts: list[float | None], expected: float | None) -> None:
    assert max_or_none(parts) == expected


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics.csv")
    rows: list[dict[str, Any]] = [{"epoch": 1}]
    history.load_state_dict({"rows": rows, "seconds": 2.0, "peak_memory_mb": 3.0})
    assert (history.rows, history.seconds, history.peak_memory_mb) == (rows, 2.0, 3.0)
    assert (history.devices, history.skipped) == ([], [])


def test_the_peak_of_an_earlier_sitting_counts(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics.csv")
    history.load_state_dict({"rows": [], "seconds": 2.0, "peak_memory_mb": 1e9})
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(unreadable=()), current_epoch=1, loggers=[])
    classifier = MagicMock(spec=Classifier, device=CPU, row={})
    history.on_train_start(trainer, classifier)
    history.on_train_epoch_end(trainer, classifier)
    assert history.peak_memory_mb == 1e9
    assert history.seconds > 2
