"""A model of two blocks, services without a trainer, and one training step as the trainer makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_lightning import seed_everything
from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from ghostlab.data import Batch
from ghostlab.distill import Preprocessing, TeacherSource
from ghostlab.strategies.base import Drawn, Step, Strategy
from ghostlab.testing.settings import TASK
from ghostlab.training.classifier import TrainingStep
from ghostlab.training.teachers import teacher_sources

__all__ = [
    "BATCH",
    "TEACHERS",
    "FakeImages",
    "FakeServices",
    "TinyNet",
    "TinySource",
    "build",
    "load_batch",
    "training_step",
]

BATCH = 6
TEACHERS = ("a teacher", "another teacher")
"""Names that ``FakeServices`` opens tiny networks for."""


class Block(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.drop_path = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(F.relu(self.bn(self.conv(x))))


class TinyNet(nn.Module):
    feature_info = ({"module": "blocks.0"}, {"module": "blocks.1"})

    def __init__(self, num_classes: int = TASK.num_classes, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.blocks = nn.Sequential(Block(0.0), Block(drop_path_rate))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@dataclass(frozen=True)
class TinySource:
    """A teacher without a file; ``name`` is one of ``TEACHERS``."""

    name: str
    preprocessing = Preprocessing(TASK.mean, TASK.std, (TASK.image_size,))

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": self.name, "weights": "0123"}

    def open(self, num_classes: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(TEACHERS.index(self.name))
            return TinyNet(num_classes).eval().requires_grad_(False)


@dataclass
class FakeImages:
    """An epoch of ``size`` images of noise, each a function of its seed, in batches of 4; ``drawn`` counts them."""

    size: int = BATCH
    settings: dict[str, Any] = field(default_factory=dict)
    drawn: int = 0
    replayed: list[Any] = field(default_factory=list)

    def identity(self) -> dict[str, Any]:
        return {"data": {"name": "noise"}, "strategies": {}, **self.settings}

    def image(self, seed: int) -> Tensor:
        return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed))

    def draw(self, seed: int, start: int, stop: int) -> Iterator[Drawn]:
        for epoch in range(start // self.size, -(-stop // self.size)):
            for first in range(0, self.size, 4):
                done = min(first + 4, self.size)
                if start < epoch * self.size + done <= stop:
                    index = np.arange(first, done)
                    seeds = 1000 * (epoch + 1) + index
                    self.drawn += len(index)
                    yield Drawn(epoch, done, torch.stack([self.image(s) for s in seeds.tolist()]), index, seeds)

    def replay(self, seed: int, seeds: Callable[[int, Any], Any]) -> None:
        self.replayed.append((seed, seeds))


@dataclass
class FakeServices:
    """Measures nothing: what a strategy asks for is written down, and answered with a constant."""

    teacher: Path = Path("outputs/teachers/tiny")
    outputs: Path = Path("nowhere")
    images: FakeImages = field(default_factory=FakeImages)
    evaluated: list[nn.Module] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    learned_from: list[tuple[str, str | Path]] = field(default_factory=list)

    def default_teacher(self) -> Path:
        return self.teacher

    def teachers(self, sources: Sequence[str | Path], architectures: Sequence[str | None]) -> Sequence[TeacherSource]:
        if {*sources} <= {*TEACHERS}:
            return [TinySource(str(source)) for source in sources]
        return teacher_sources(sources, architectures)

    def evaluate(self, model: nn.Module) -> float:
        self.evaluated.append(model)
        return 98.6

    def precision(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def learn_from(self, key: str, source: str | Path) -> None:
        self.learned_from.append((key, source))

    def say(self, line: str) -> None:
        self.said.append(line)


def build(strategies: Sequence[Strategy], outputs: Path = Path("nowhere")) -> nn.Module:
    """The model that the strategies, prepared now, have changed, in training mode."""
    seed_everything(0, verbose=False)
    options = {key: value for s in strategies for key, value in s.model_options().items()}
    model: nn.Module = TinyNet(**options)
    for strategy in strategies:
        model = strategy.change_model(model, TASK)
    for strategy in strategies:
        strategy.prepare(model, TASK, FakeServices(outputs=outputs))
    return model.train()


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


def training_step(
    strategies: Sequence[Strategy], model: nn.Module, images: Tensor, device: str = "cpu"
) -> tuple[Step, Tensor, dict[str, Tensor]]:
    """What was seen and answered, the loss, and its terms, on ``device``, where the model is already."""
    step, index = TrainingStep(strategies, TASK), torch.arange(BATCH)
    batch = step.look_up(Batch(images, index % TASK.num_classes, index, seed=index), epoch=0)
    known = {name: tensor.to(device) for name, tensor in batch.known.items()}
    batch = batch._replace(images=images.to(device), targets=batch.targets.to(device), known=known)
    seen = step.forward(model, batch, epoch=0)
    return seen, *step.loss(seen)
