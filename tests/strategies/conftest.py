"""Teachers without files: the name "a teacher" opens a tiny network."""

from __future__ import annotations

import pytest
from torch import nn

import ghostlab.strategies.kd
from tests.strategies.tiny import TinyNet


@pytest.fixture
def a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_teacher(source: str, num_classes: int, teacher_model: str | None) -> nn.Module:
        assert (source, teacher_model) == ("a teacher", None)
        return TinyNet(num_classes).eval().requires_grad_(False)

    monkeypatch.setattr(ghostlab.strategies.kd, "open_teacher", open_teacher)
