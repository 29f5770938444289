"""Which layers lose most in int8: each is quantized alone, in PyTorch, and the answers are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LayerLoss", "sensitivity", "weighted_layers"]

Hook = Callable[[nn.Module, tuple[Tensor, ...]], Any]


@dataclass(frozen=True)
class LayerLoss:
    """What quantizing one convolution or linear layer alone does to the answers."""

    name: str
    sqnr: float
    """Signal-to-quantization-noise ratio of the logits in dB, the lower the worse; infinite where nothing changes."""


def sensitivity(model: nn.Module, images: Tensor) -> list[LayerLoss]:
    """Every layer's loss on ``images`` (B, 3, H, W), the worst first; ``model`` is left as it was.

    The weights of a layer are rounded to int8 with one scale an output channel, its input to 8 bits with one scale
    over the range that the images give it. The ratio compares logits of which each image's mean is taken away, since
    softmax does not see it; unlike a divergence of probabilities it does not vanish where a network is sure, so that a
    few dozen images without labels rank the layers.
    """
    layers, images = weighted_layers(model), images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        ranges: dict[str, tuple[Tensor, Tensor]] = {}
        with _seen(layers, ranges):
            wanted = _centred(model(images))
        losses = [
            LayerLoss(name, _sqnr(wanted, _centred(_answers(model, layers[name], span, images))))
            for name, span in ranges.items()
        ]
    return sorted(losses, key=lambda loss: loss.sqnr)


def weighted_layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers of a model by name: what is quantized with weights."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@contextmanager
def _seen(layers: dict[str, nn.Conv2d | nn.Linear], ranges: dict[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Within it ``ranges`` is given the smallest and largest input, with 0, of every layer that is called."""

    def hook(name: str) -> Hook:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            low, high = torch.aminmax(inputs[0])
            before = ranges.get(name, (low.new_zeros(()), high.new_zeros(())))
            ranges[name] = torch.minimum(before[0], low), torch.maximum(before[1], high)

        return keep

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _answers(model: nn.Module, layer: nn.Conv2d | nn.Linear, span: tuple[Tensor, Tensor], images: Tensor) -> Tensor:
    """The logits where this layer alone is quantized."""
    weight, handle = layer.weight.data, layer.register_forward_pre_hook(lambda _, x: (_rounded_input(x[0], *span),))
    layer.weight.data = _rounded_weight(weight)
    try:
        return model(images)
    finally:
        layer.weight.data = weight
        handle.remove()


def _rounded_input(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    scale = float(high - low) / 255 or 1.0
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-float(low) / scale), 0, 255)


def _rounded_weight(weight: Tensor) -> Tensor:
    scale = weight.flatten(1).abs().amax(1).clamp_min(torch.finfo(weight.dtype).tiny) / 127
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)


def _sqnr(wanted: Tensor, found: Tensor) -> float:
    noise = float((found - wanted).square().sum())
    return 10 * math.log10(float(wanted.square().sum()) / noise) if noise else math.inf
