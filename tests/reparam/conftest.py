"""Shared by the tests of this room: a seed, a small model and images for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.reparam.nets import TinyNet, scatter


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def net() -> TinyNet:
    return scatter(TinyNet())


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 16, 16)
