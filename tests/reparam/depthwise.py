"""Depthwise convolutions of any geometry, and what their moments and gradients are by patches laid out one by one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.reparam.online.arguments import output_size


class Case(NamedTuple):
    shape: tuple[int, int, int, int]
    size: int
    stride: int
    padding: int
    layout: Callable[[Tensor], Tensor]

    @property
    def kernel(self) -> tuple[int, int, int]:
        return self.size, self.stride, self.padding


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def first(x: Tensor) -> Tensor:
    return x.contiguous()


def slice_of_more(x: Tensor) -> Tensor:
    """Channels-last, the channels part of more: pixels lie further apart than channels are many."""
    return last(torch.cat([x[:, :1], x, x[:, :1], x[:, :1]], 1))[:, 1:-2]


def every_second(x: Tensor) -> Tensor:
    """No dimension is dense."""
    return x.repeat_interleave(2, 3)[..., ::2]


@functools.lru_cache
def operands(case: Case) -> dict[str, Tensor]:
    """Random arguments in float64; values of ``x`` have a mean."""
    count, channels = case.size**2, case.shape[1]
    x = torch.randn(case.shape, dtype=torch.float64) + 2
    shapes = {"kernel": (channels, count), "quadratic": (channels, count, count), "constant": (channels, count)}
    made = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    grad = torch.randn(*case.shape[:2], *output_size(x, *case.kernel), dtype=torch.float64)
    return {"x": x, "grad": grad, **made}


def patches_of(x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """(B, C, K, H' * W')."""
    return F.unfold(x, size, padding=padding, stride=stride).unflatten(1, (x.shape[1], size * size))


def reference_moments(x: Tensor, *kernel: int) -> tuple[Tensor, Tensor]:
    patches = patches_of(x, *kernel).permute(1, 2, 0, 3).flatten(2)
    mean = patches.mean(-1)
    centred = patches - mean.unsqueeze(-1)
    return mean, centred @ centred.mT / patches.shape[-1]


def reference_kernel_gradient(case: Case) -> tuple[Tensor, Tensor]:
    """Of the kernel (C, K) and the bias (C,)."""
    values = operands(case)
    patches, grad = patches_of(values["x"], *case.kernel), values["grad"].flatten(2)
    return (patches * grad.unsqueeze(2)).sum((0, 3)), grad.sum((0, 2))


def reference_input_gradient(case: Case) -> Tensor:
    """Gradient of unfold: what each patch sends back lands where it was read."""
    values = operands(case)
    x = values["x"].clone().requires_grad_()
    patches = patches_of(x, *case.kernel)
    sent = values["quadratic"] @ patches.detach() + values["constant"].unsqueeze(-1)
    sent += values["kernel"].unsqueeze(-1) * values["grad"].flatten(2).unsqueeze(2)
    return torch.autograd.grad(patches, x, sent)[0]


def close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal up to ``tolerance`` of the largest expected value."""
    bound = tolerance * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(got.to(expected.dtype), expected, rtol=0, atol=bound)
