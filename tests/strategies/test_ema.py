"""Averaging of weights: values worked out by hand, through the real trainer, and exactly resumed."""

from __future__ import annotations

import copy
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import approx, param
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ghostlab.errors import RunError, UsageError
from ghostlab.strategies.base import Task
from ghostlab.strategies.ema import Ema, EmaCallback, ema_decay, ema_update, pair
from ghostlab.testing.tiny import FakeServices


class Counting(nn.Module):
    """Its one weight grows by 1 at every step; its batch norm's mean moves towards 5."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.bn = nn.BatchNorm1d(1, affine=False, momentum=0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.bn(x)
        return self.weight


class Student(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = Counting()
        self.evaluated: dict[str, nn.Module] = {"raw": self.model}

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return -self.model(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=1.0)


BATCHES = DataLoader(torch.full((8, 1), 5.0), batch_size=2)  # 4 of them


def fit(epochs: int, *callbacks: Callback, resume: Path | None = None, **options: Any) -> Student:
    student = Student()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(student, BATCHES, ckpt_path=resume, weights_only=True)
    return student


def averaged(start: float, currents: list[float], decays: list[Fraction]) -> float:
    average = Fraction(start)
    for current, decay in zip(currents, decays, strict=True):
        average = decay * average + (1 - decay) * Fraction(current)
    return float(average)


@pytest.mark.parametrize(
    ("update", "decay"),
    [
        param(0, Fraction(1, 10), id="first"),
        param(1, Fraction(2, 11), id="second"),
        param(2, Fraction(3, 12), id="third"),
        param(80, Fraction(9, 10), id="reached"),
        param(10_000, Fraction(9, 10), id="kept"),
    ],
)
def test_warmup_of_the_decay(update: int, decay: Fraction) -> None:
    assert ema_decay(update, 0.9) == approx(float(decay))
    assert ema_decay(update, 0.9, warmup=False) == 0.9


def test_an_update_averages_floats_and_copies_counters() -> None:
    model = Counting()
    average = copy.deepcopy(model)
    pairs = pair(average, model)
    with torch.no_grad():
        model.weight.fill_(8.0)
        model.bn.running_mean.fill_(4.0)
        model.bn.num_batches_tracked.fill_(3)
    ema_update(pairs, 0.75)
    assert (average.weight.item(), average.bn.running_mean.item()) == (2.0, 1.0)
    assert average.bn.num_batches_tracked == 3
    assert model.weight.item() == 8.0


def test_the_trainer_averages_after_every_step() -> None:
    ema = EmaCallback(decay=0.9999, warmup=True)
    student = fit(1, ema)
    average = student.evaluated["ema"]
    decays = [Fraction(1, 10), Fraction(2, 11), Fraction(3, 12), Fraction(4, 13)]
    assert student.model.weight.item() == 4
    assert average.weight.item() == approx(averaged(0, [1, 2, 3, 4], decays))
    assert average.bn.running_mean.item() == approx(averaged(0, [2.5, 3.75, 4.375, 4.6875], decays))
    assert average.bn.num_batches_tracked == 4
    assert not average.training
    assert not average.weight.requires_grad
    assert ema.updates == 4


def test_the_average_has_the_models_precision() -> None:
    student = fit(1, EmaCallback(decay=0.5, warmup=False), precision="64-true")
    assert student.evaluated["ema"].weight.dtype == torch.float64
    assert student.evaluated["ema"].weight.item() == averaged(0, [1, 2, 3, 4], [Fraction(1, 2)] * 4)


def test_only_optimizer_steps_count_when_gradients_are_accumulated() -> None:
    ema = EmaCallback(decay=0.5, warmup=False)
    student = fit(1, ema, accumulate_grad_batches=2)
    assert ema.updates == 2
    assert student.evaluated["ema"].weight.item() == averaged(0, [1, 2], [Fraction(1, 2)] * 2)


def test_the_average_is_no_part_of_the_trained_module() -> None:
    student = fit(1, EmaCallback(decay=0.5, warmup=False))
    assert [name for name, _ in student.named_parameters()] == ["model.weight"]
    assert all(key.startswith("model.") for key in student.state_dict())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_run_averages_exactly_as_one_that_was_not_interrupted(tmp_path: Path, accumulate: int) -> None:
    whole = fit(3, EmaCallback(0.9, warmup=True), accumulate_grad_batches=accumulate)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    fit(1, EmaCallback(0.9, warmup=True), keep, accumulate_grad_batches=accumulate)
    ema = EmaCallback(0.9, warmup=True)
    resumed = fit(3, ema, resume=tmp_path / "last.ckpt", accumulate_grad_batches=accumulate)
    ours, theirs = resumed.evaluated["ema"].state_dict(), whole.evaluated["ema"].state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert ours["weight"] != resumed.model.weight


def test_a_checkpoint_holds_both_weights_by_plain_names(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, save_last=True)
    student = fit(1, keep, EmaCallback(0.5, warmup=False))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["state_dict"]["model.weight"] == 4
    assert saved["state_dict_ema"].keys() == student.model.state_dict().keys()
    assert saved["state_dict_ema"]["weight"].item() == averaged(0, [1, 2, 3, 4], [Fraction(1, 2)] * 4)


def test_a_checkpoint_without_averaged_weights_is_refused(tmp_path: Path) -> None:
    fit(1, ModelCheckpoint(tmp_path, save_last=True))
    with pytest.raises(RunError, match="holds no averaged weights"):
        fit(2, EmaCallback(0.5, warmup=False), resume=tmp_path / "last.ckpt")


def test_weights_of_16_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="16-bit weights cannot hold an average"):
        fit(1, EmaCallback(0.5, warmup=False), precision="bf16-true")


@pytest.mark.parametrize(
    ("knobs", "steps", "warned"),
    [
        param({"warmup": False}, 220, True, id="mostly-initial-weights"),
        param({"warmup": False}, 40_000, False, id="long-enough"),
        param({}, 220, False, id="warm-up"),
    ],
)
def test_an_average_of_initial_weights_is_warned_of(
    knobs: dict[str, bool], steps: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(num_classes=4, image_size=16, mean=(0.5,) * 3, std=(0.2,) * 3, epochs=1, steps_per_epoch=steps)
    with caplog.at_level(logging.WARNING):
        Ema(**knobs).prepare(Counting(), task, FakeServices())
    message = "strategy.ema.decay=0.9999 without warm-up: after 220 steps the average is still 98 % initial weights"
    assert caplog.messages == ([message] if warned else [])
