"""The main loss of a step: cross-entropy, or that of a strategy, under its own name and with the weights of ``ce``."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from pytest import approx
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.strategies.base import MainLoss, Step, Strategy
from ghostlab.testing.settings import TASK
from ghostlab.training.classifier import TrainingStep

STEP = Step(
    images=torch.zeros(2, 3, 16, 16),
    targets=torch.tensor([0, 1]),
    logits=torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], dtype=torch.bfloat16),
)


@dataclass
class Squared(Strategy):
    name = "squared"

    def main_loss(self) -> MainLoss:
        return lambda logits, targets: F.mse_loss(logits, F.one_hot(targets, 4).float())


@dataclass
class Spread(Strategy):
    """A term of the size 2, and three quarters of the main loss."""

    name = "spread"
    term: str = "spread"
    weight: float = 0.5

    def loss_terms(self, step: Step) -> dict[str, Tensor]:
        return {self.term: torch.tensor(2.0)}

    def loss_weights(self) -> dict[str, float]:
        return {"ce": 0.75, "spread": self.weight}


def test_without_another_the_main_loss_is_cross_entropy_in_float32() -> None:
    total, terms = TrainingStep([], TASK).loss(STEP)
    assert terms == {"ce": F.cross_entropy(STEP.logits.float(), STEP.targets)}
    assert total.dtype == torch.float32
    assert total.item() == approx(terms["ce"].item())


def test_a_strategy_s_main_loss_has_its_name_and_the_weights_of_ce() -> None:
    total, terms = TrainingStep([Squared(), Spread()], TASK).loss(STEP)
    assert {name: value.item() for name, value in terms.items()} == approx({"squared": 1 / 8, "spread": 2.0})
    assert total.item() == approx(0.75 / 8 + 0.5 * 2)


def test_weights_of_several_strategies_multiply() -> None:
    @dataclass
    class Half(Strategy):
        name = "half"

        def loss_weights(self) -> dict[str, float]:
            return {"ce": 0.5}

    total, _ = TrainingStep([Squared(), Spread(), Half()], TASK).loss(STEP)
    assert total.item() == approx(0.75 * 0.5 / 8 + 0.5 * 2)


def test_two_main_losses_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="'squared' and 'squared' exclude each other, both give the main loss"):
        TrainingStep([Squared(), Squared()], TASK)


def test_a_term_is_not_overwritten_by_another_strategy_s() -> None:
    with pytest.raises(UsageError, match="strategy 'spread' adds the loss term 'ce', which is there already"):
        TrainingStep([Spread(term="ce")], TASK).loss(STEP)


def test_a_weight_of_no_term_is_refused() -> None:
    with pytest.raises(UsageError, match="loss_weights has 'spread'; the terms of this run are ce, sprad"):
        TrainingStep([Spread(term="sprad")], TASK).loss(STEP)
