"""A model of two blocks, services without a trainer, and one training step as the trainer makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_lightning import seed_everything
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from ghostlab.strategies import load
from ghostlab.strategies.base import Step, Strategy
from tests.strategies.settings import SETTINGS, TASK

BATCH = 6


class Block(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.drop_path = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(F.relu(self.bn(self.conv(x))))


class TinyNet(nn.Module):
    def __init__(self, num_classes: int = TASK.num_classes, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.blocks = nn.Sequential(Block(0.0), Block(drop_path_rate))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@dataclass
class FakeServices:
    """Measures nothing: what a strategy asks for is written down, and answered with a constant."""

    teacher: Path = Path("outputs/teachers/tiny")
    evaluated: list[nn.Module] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def default_teacher(self) -> Path:
        return self.teacher

    def evaluate(self, model: nn.Module) -> float:
        self.evaluated.append(model)
        return 98.6

    def say(self, line: str) -> None:
        self.said.append(line)


def build(names: Sequence[str]) -> tuple[list[Strategy], nn.Module]:
    """The strategies, prepared, and the model that they change, in training mode."""
    seed_everything(0, verbose=False)
    strategies = [load(name)(**SETTINGS[name]) for name in names]
    options = {key: value for s in strategies for key, value in s.model_options().items()}
    model: nn.Module = TinyNet(**options)
    for strategy in strategies:
        model = strategy.change_model(model, TASK)
    for strategy in strategies:
        strategy.prepare(model, TASK, FakeServices())
    return strategies, model.train()


def load_batch(strategies: Sequence[Strategy]) -> Tensor:
    """Random images (BATCH, 3, 16, 16) after the strategies' transforms."""
    on_images = [t for s in strategies for t in s.image_transforms(TASK)]
    on_tensors = [t for s in strategies for t in s.tensor_transforms(TASK)]
    images = []
    for _ in range(BATCH):
        image = Image.effect_noise((16, 16), 60).convert("RGB")
        for transform in on_images:
            image = transform(image)
        tensor = to_tensor(image)
        for transform in on_tensors:
            tensor = transform(tensor)
        images.append(tensor)
    return torch.stack(images)


def training_step(strategies: Sequence[Strategy], model: nn.Module, images: Tensor) -> tuple[Step, dict[str, Tensor]]:
    """What was seen and answered, and all loss terms, weighted."""
    targets = torch.arange(BATCH) % TASK.num_classes
    for strategy in strategies:
        targets = strategy.change_targets(targets, TASK)
    mixers = [mixer for s in strategies if (mixer := s.mixer(TASK))]
    if mixers and targets.ndim == 1:
        targets = F.one_hot(targets, TASK.num_classes).float()
    for mixer in mixers:
        images, targets = mixer(images, targets)
    step = Step(images, targets, model(images))
    terms = {"ce": F.cross_entropy(step.logits, targets)}
    for strategy in strategies:
        terms |= strategy.loss_terms(step)
    for strategy in strategies:
        for name, weight in strategy.loss_weights().items():
            terms[name] = terms[name] * weight
    return step, terms
