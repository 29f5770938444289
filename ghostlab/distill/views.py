"""What a teacher sees: the student's images in the size and normalisation that the teacher was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Committee", "Preprocessing", "Teacher", "answers"]

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
