"""Running means of loss terms, and the first one that is not finite."""

from __future__ import annotations

import pytest
import torch

from ghostlab.errors import RunError
from ghostlab.training.metrics import LossLog


def terms(loss: float, ce: float) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(loss), "ce": torch.tensor(ce)}


def test_the_means_are_those_since_the_last_reset() -> None:
    log = LossLog()
    log.update(terms(9.0, 9.0), 0)
    log.reset()
    log.update(terms(1.0, 3.0), 1)
    log.update(terms(2.0, 5.0), 2)
    assert log.means() == {"loss": 1.5, "ce": 4.0}


def test_without_a_step_there_is_no_mean() -> None:
    assert LossLog().means() == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_step_and_the_term_that_was_not_finite_are_named(bad: float) -> None:
    log = LossLog()
    log.update(terms(1.0, 1.0), 6)
    log.check()
    log.update(terms(1.0, bad), 7)
    log.update(terms(bad, bad), 8)
    with pytest.raises(RunError, match=r"loss term 'ce' is not finite at step 7"):
        log.check()
