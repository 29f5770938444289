"""A batch is mixed by its seed, whatever was drawn before."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from ghostlab.data.samples import seeded
from ghostlab.strategies.cutmix import CutMix
from ghostlab.strategies.mixup import Mixup
from ghostlab.testing.settings import TASK
from ghostlab.training.stages import Mixing

IMAGES, LABELS = torch.randn(6, 3, 8, 8), torch.arange(6) % TASK.num_classes


def test_without_a_mixer_nothing_happens() -> None:
    mixing = Mixing([], TASK)
    assert not mixing
    images, targets = mixing(IMAGES, LABELS, 3)
    assert images is IMAGES
    assert targets is LABELS


def test_the_mix_is_a_function_of_the_seed_and_draws_nothing_from_the_run() -> None:
    mixing = Mixing([Mixup(alpha=1.0), CutMix()], TASK)
    assert mixing
    before = torch.get_rng_state()
    first, targets = mixing(IMAGES, LABELS, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, same_targets = mixing(IMAGES, LABELS, 3)
    assert torch.equal(first, again)
    assert torch.equal(targets, same_targets)
    assert not torch.equal(first, mixing(IMAGES, LABELS, 4)[0])
    torch.testing.assert_close(targets.sum(1), torch.ones(6))


def test_a_mix_does_not_draw_the_numbers_of_its_first_images_own_transforms() -> None:
    def draws() -> list[float]:
        return [*torch.rand(4).tolist(), random.random(), *np.random.rand(4)]

    class Noted(Mixup):
        def mixer(self, task: Any) -> Any:
            return lambda images, targets: (noted.extend(draws()), targets)

    noted: list[float] = []
    Mixing([Noted()], TASK)(IMAGES, LABELS, 3)
    with seeded(3):
        drawn = draws()
        drawn += torch.rand(4).tolist()
    with seeded(3):
        torch.randint(1, ())  # which mixer it is
        drawn += torch.rand(4).tolist()
    assert not set(noted) & set(drawn)


def test_of_several_mixers_each_gets_its_batches() -> None:
    only_mixup, both = Mixing([Mixup(alpha=1.0)], TASK), Mixing([Mixup(alpha=1.0), CutMix()], TASK)
    pasted = [seed for seed in range(40) if _copies_pixels(both(IMAGES, LABELS, seed)[0])]
    assert 8 < len(pasted) < 32
    assert not any(_copies_pixels(only_mixup(IMAGES, LABELS, seed)[0]) for seed in range(40))


def _copies_pixels(images: torch.Tensor) -> bool:
    """CutMix keeps every pixel as it was in some image; mixup changes them."""
    return all(bool((image == IMAGES).any(0).all()) for image in images)
