"""Teachers without files: the names "a teacher" and "another teacher" open tiny networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from ghostlab.distill import Preprocessing, TeacherSource
from ghostlab.training import services
from tests.strategies.settings import TASK
from tests.strategies.tiny import FakeServices, TinyNet

NAMES = ("a teacher", "another teacher")


@dataclass(frozen=True)
class TinySource:
    name: str
    preprocessing = Preprocessing(TASK.mean, TASK.std, (16,))

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": self.name, "weights": "0123"}

    def open(self, num_classes: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(NAMES.index(self.name))
            return TinyNet(num_classes).eval().requires_grad_(False)


@pytest.fixture
def a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(sources: Sequence[str], architectures: Sequence[str | None]) -> list[TeacherSource]:
        assert not any(architectures)
        return [TinySource(source) for source in sources]

    monkeypatch.setattr(FakeServices, "teachers", lambda self, *given: tiny(*given))
    monkeypatch.setattr(services, "teacher_sources", tiny)
