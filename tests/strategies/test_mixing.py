"""Mixup, CutMix and label smoothing against values worked out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from pytest import approx, param

from ghostlab.strategies.cutmix import Box, CutMix, draw_box, paste
from ghostlab.strategies.mixup import Mixup, draw, mix
from ghostlab.strategies.smoothing import Smoothing, smooth
from ghostlab.testing.settings import TASK

SWAP = torch.tensor([1, 0])


def constant_images(*values: float, size: int = 4) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, size, size).clone()


def test_mix_blends_images_and_targets() -> None:
    images, targets = mix(constant_images(0.0, 10.0), torch.eye(2), 0.7, SWAP)
    assert images[:, 0, 0, 0].tolist() == approx([3.0, 7.0])
    assert targets.tolist() == [approx([0.7, 0.3]), approx([0.3, 0.7])]


def test_mix_and_paste_leave_their_inputs_alone() -> None:
    images, targets = constant_images(0.0, 10.0), torch.eye(2)
    mix(images, targets, 0.7, SWAP)
    paste(images, targets, Box(0, 2, 0, 2), SWAP)
    assert torch.equal(images, constant_images(0.0, 10.0))
    assert torch.equal(targets, torch.eye(2))


@pytest.mark.parametrize(
    ("alpha", "variance"),
    # of Beta(a, a): 1 / (4 (2 a + 1))
    [param(0.2, 1 / 5.6, id="mostly-near-the-ends"), param(1.0, 1 / 12, id="uniform"), param(8.0, 1 / 68, id="middle")],
)
def test_shares_follow_the_beta_distribution(alpha: float, variance: float) -> None:
    torch.manual_seed(0)
    shares = torch.tensor([draw(alpha, 2, torch.device("cpu"))[0] for _ in range(2000)])
    assert shares.mean().item() == approx(0.5, abs=0.03)
    assert shares.var().item() == approx(variance, rel=0.1)


@pytest.mark.parametrize("strategy", [Mixup(), CutMix()], ids=["mixup", "cutmix"])
def test_mixers_draw_from_torchs_generator_alone(strategy: Mixup | CutMix) -> None:
    mixer = strategy.mixer(TASK)
    images, targets = torch.rand(8, 3, 16, 16), torch.eye(8)
    others = (random.getstate(), np.random.get_state()[1].tolist())
    torch.manual_seed(3)
    first = mixer(images, targets)
    second = mixer(images, targets)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == others
    torch.manual_seed(3)
    again = mixer(images, targets)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], second[0])


def test_paste_copies_the_box_and_counts_its_pixels() -> None:
    images, targets = paste(constant_images(0.0, 10.0), torch.eye(2), Box(1, 3, 0, 3), SWAP)
    expected = torch.tensor([[0.0, 0, 0, 0], [10, 10, 10, 0], [10, 10, 10, 0], [0, 0, 0, 0]])
    assert all(torch.equal(channel, expected) for channel in images[0])
    assert torch.equal(images[1], 10 - images[0])
    assert targets.tolist() == [approx([10 / 16, 6 / 16]), approx([6 / 16, 10 / 16])]


def test_a_box_in_the_middle_has_the_drawn_area_and_others_are_cut_off() -> None:
    torch.manual_seed(0)
    boxes = [draw_box(0.75, 32, 64) for _ in range(500)]
    assert max(box.area for box in boxes) == 16 * 32
    assert all(0 <= box.top <= box.bottom <= 32 and 0 <= box.left <= box.right <= 64 for box in boxes)
    assert min(box.top for box in boxes) == 0
    assert max(box.right for box in boxes) == 64


@pytest.mark.parametrize(("lam", "area"), [param(1.0, 0, id="nothing"), param(0.0, 16 * 16, id="all-when-centred")])
def test_boxes_at_the_ends_of_the_shares(lam: float, area: int) -> None:
    torch.manual_seed(0)
    assert max(draw_box(lam, 16, 16).area for _ in range(2000)) == area


def test_smoothing_of_indices() -> None:
    smoothed = smooth(torch.tensor([2, 0]), 4, 0.2)
    assert smoothed.tolist() == [approx([0.05, 0.05, 0.85, 0.05]), approx([0.85, 0.05, 0.05, 0.05])]
    assert smoothed.dtype == torch.float32


def test_smoothing_of_probabilities() -> None:
    smoothed = smooth(torch.tensor([[0.5, 0.5, 0.0, 0.0]], dtype=torch.float64), 4, 0.2)
    assert smoothed.tolist() == [approx([0.45, 0.45, 0.05, 0.05])]
    assert smoothed.dtype == torch.float64


def test_the_smoothing_strategy_knows_the_classes() -> None:
    assert Smoothing(0.4).change_targets(torch.tensor([1]), TASK).tolist() == [approx([0.1, 0.7, 0.1, 0.1])]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_mixing_on_a_gpu_never_waits_for_it() -> None:
    images, targets = torch.rand(8, 3, 16, 16, device="cuda"), torch.arange(8, device="cuda")
    mixers = [Mixup().mixer(TASK), CutMix().mixer(TASK)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for mixer in mixers:
            mixer(images, smooth(targets, 8, 0.1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
