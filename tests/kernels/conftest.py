"""Shared by the tests of this room: a cache folder of each test's own, and a seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostlab.kernels import native


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where choices are kept; the libraries that are loaded already lie elsewhere."""
    assert native.kernels(torch.float32) is not None
    monkeypatch.setenv("GHOSTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
