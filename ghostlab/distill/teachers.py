"""Which teachers a student has, and what each sees: the student's images in its own size and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Committee", "Preprocessing", "Teacher", "TeacherChoice", "TeacherSource", "answers"]

Colours = tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """How images become a network's input: ``(pixel - mean) / std`` per colour, pixels from 0 to 1.

    ``sizes`` are the sides in pixels that it takes as they are; any other is resized to the first. Empty: any.
    """

    mean: Colours
    std: Colours
    sizes: tuple[int, ...] = ()


class Teacher(nn.Module):
    """A network in evaluation mode, without gradients and channels-last, that takes the student's images (B, C, H, W).

    These are ``given``; where the network ``wanted`` another normalisation or size it gets its own view of them.
    Resizing is bicubic and, where images become smaller, smoothed.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, given: Preprocessing, wanted: Preprocessing) -> None:
        super().__init__()
        self.model, self.sizes = model.to(memory_format=torch.channels_last), wanted.sizes
        self.renormalises = (given.mean, given.std) != (wanted.mean, wanted.std)
        ours, theirs = (torch.tensor([p.mean, p.std], dtype=torch.float64) for p in (given, wanted))
        self.register_buffer("scale", (ours[1] / theirs[1]).float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", ((ours[0] - theirs[0]) / theirs[1]).float().view(1, -1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.view(images))

    def view(self, images: Tensor) -> Tensor:
        """The images as the network wants them; themselves where nothing differs."""
        if self.renormalises:
            images = torch.addcmul(self.shift, images, self.scale)
        if not self.sizes or images.shape[-1] in self.sizes:
            return images
        return F.interpolate(images, (self.sizes[0], self.sizes[0]), mode="bicubic", antialias=True)


class Committee(nn.Module):
    """Several teachers that answer with ``ln`` of the weighted mean of their probabilities, as logits; float32."""

    def __init__(self, teachers: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)
        total = sum(weights)
        self.log_weights = [torch.tensor(weight / total).log().item() for weight in weights]
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        each = [teacher(images).float().log_softmax(1) for teacher in self.teachers]
        return torch.stack([log_p + w for log_p, w in zip(each, self.log_weights, strict=True)]).logsumexp(0)


@torch.no_grad()
def answers(teacher: nn.Module, images: Tensor) -> Tensor:
    """The teacher's logits (B, classes) for images (B, C, H, W), to which it is moved; under autocast in its type."""
    first = next(teacher.parameters())
    if (first.device, first.dtype) != (images.device, images.dtype):
        teacher.to(images.device, images.dtype)
    return teacher(images)


class TeacherSource(Protocol):
    """Where a teacher comes from; nothing is opened before ``open``."""

    @property
    def name(self) -> str:
        """How the teacher is called."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What it expects of its images, None where nothing says it."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on besides its images, as plain values."""

    def open(self, num_classes: int) -> nn.Module:
        """The network with ``num_classes`` outputs, in evaluation mode and without gradients."""


@dataclass(frozen=True)
class TeacherChoice:
    """Teachers by their sources, with as many weights.

    ``size`` in pixels, ``mean`` and ``std`` per colour, where given, are what all of them see in place of what their
    source says; one that says nothing sees the student's images as they are.
    """

    sources: Sequence[TeacherSource]
    weights: Sequence[float]
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def identity(self, given: Preprocessing) -> list[dict[str, Any]]:
        """What the answers to images prepared as ``given`` depend on besides the images, as plain values."""
        return [
            {**source.identity, **vars(self._view(source, given)), "weight": weight}
            for source, weight in zip(self.sources, self.weights, strict=True)
        ]

    def open(self, num_classes: int, given: Preprocessing) -> list[Teacher]:
        """Every teacher, opened for images that are prepared as ``given``; raises what ``TeacherSource.open`` does."""
        return [Teacher(source.open(num_classes), given, self._view(source, given)) for source in self.sources]

    def together(self, teachers: Sequence[Teacher]) -> nn.Module:
        """One module that answers for all."""
        return teachers[0] if len(teachers) == 1 else Committee(teachers, self.weights)

    def introduce(self, teachers: Sequence[Teacher], evaluate: Callable[[nn.Module], float]) -> tuple[str, float]:
        """Names with the top-1 in percent of each, as measured by ``evaluate``, and the top-1 of all together."""
        scores = [evaluate(teacher) for teacher in teachers]
        each = [f"{source.name}: top-1 {score:.1f}" for source, score in zip(self.sources, scores, strict=True)]
        if len(teachers) == 1:
            return f"teacher {each[0]}", scores[0]
        together = evaluate(self.together(teachers))
        return f"teachers {', '.join(each)}; together {together:.1f}", together

    def _view(self, source: TeacherSource, given: Preprocessing) -> Preprocessing:
        own = source.preprocessing or Preprocessing(given.mean, given.std)
        return Preprocessing(self.mean or own.mean, self.std or own.std, (self.size,) if self.size else own.sizes)
