"""AutoAugment: pairs of operations whose kinds, strengths and probabilities were searched on ImageNet.

Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", https://arxiv.org/abs/1805.09501; the policies
are those of ``timm.data.auto_augment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timm.data.auto_augment import auto_augment_transform

from ghostlab.strategies.base import Strategy, Task, Transform
from ghostlab.strategies.checks import one_of, within
from ghostlab.strategies.randaugment import keep_one_bit, operation_options

__all__ = ["POLICIES", "AutoAugment", "auto_augment"]

POLICIES = ("original", "originalr", "v0", "v0r", "3a")
"""The paper's policy, EfficientNet's (v0), both with increasing posterization (r), and DeiT III's 3-Augment (3a)."""


def auto_augment(policy: str, std: float, image_size: int, mean: Sequence[float]) -> Transform:
    """A transform PIL RGB image -> PIL RGB image of the same size: every image draws a sub-policy of ``policy``.

    ``std`` is the standard deviation of noise on the strengths, 0 in the paper; ``mean`` (channels, in [0, 1]) is the
    colour that fills uncovered places. Draws from ``random``.
    """
    transform = auto_augment_transform(policy, operation_options(image_size, mean, std))
    for sub_policy in transform.policy:
        keep_one_bit(sub_policy)
    return transform


@dataclass
class AutoAugment(Strategy):
    """AutoAugment on the training images, after crop and flip."""

    name = "autoaugment"
    policy: str = "original"
    std: float = 0.0

    def __post_init__(self) -> None:
        one_of("strategy.autoaugment.policy", self.policy, POLICIES)
        within("strategy.autoaugment.std", self.std, "[0, 10]")

    def image_transforms(self, task: Task) -> Sequence[Transform]:
        return [auto_augment(self.policy, self.std, task.image_size, task.mean)]

    def describe(self) -> str:
        return f"policy {self.policy}" + (f" (std {self.std:g})" if self.std else "")
