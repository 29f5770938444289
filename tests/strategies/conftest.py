"""Teachers without files: the names "a teacher" and "another teacher" open tiny networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostlab.distill import Preprocessing, choice
from tests.strategies.settings import TASK
from tests.strategies.tiny import TinyNet

NAMES = ("a teacher", "another teacher")


@pytest.fixture
def a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_teacher(source: str, num_classes: int, teacher_model: str | None) -> nn.Module:
        assert teacher_model is None
        with torch.random.fork_rng():
            torch.manual_seed(NAMES.index(source))
            return TinyNet(num_classes).eval().requires_grad_(False)

    monkeypatch.setattr(choice, "open_teacher", open_teacher)
    monkeypatch.setattr(choice, "teacher_preprocessing", lambda source: Preprocessing(TASK.mean, TASK.std, (16,)))
    monkeypatch.setattr(choice, "teacher_identity", lambda source, model: {"model": source, "weights": "0123"})
