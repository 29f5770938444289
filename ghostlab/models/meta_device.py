"""What a network is, found out on the meta device, where nothing is computed: its images, its counts, its stages."""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import torch
from timm.models import EfficientNet, MobileNetV3, ResNet
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ghostlab.errors import UsageError
from ghostlab.models.ghostnet import GhostNet
from ghostlab.reparam.fold import computing
from ghostlab.reparam.trace import evaluating, image_channels

__all__ = ["Counts", "NetworkStage", "accepted_near", "count", "forward_on_meta", "network_stages", "refusal"]

MULTIPLES = (8, 14, 16, 32, 64)
"""Sides that networks take are often multiples of one of these: the strides of stages, and the sides of patches."""


def forward_on_meta(model: nn.Module, image_size: int | tuple[int, int], channels: int | None = None) -> Any:
    """What ``model`` puts out for one image of ``image_size`` (pixels, or height and width), in evaluation mode.

    ``channels`` are by default those that the model was made for. Raises ``UsageError`` for images that it cannot take.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    named = chain(model.named_parameters(), model.named_buffers())
    tensors = {name: tensor.detach().to("meta") for name, tensor in named}
    shape = (1, channels or image_channels(model), height, width)
    image = torch.empty(shape, device="meta", dtype=next(t.dtype for t in tensors.values() if t.is_floating_point()))
    try:
        with evaluating(model), computing(model, "never"):
            return functional_call(model, tensors, (image,))
    except Exception as error:  # networks have many ways to say it
        cause = " ".join(str(error).split())[:120].rstrip(".") or f"{type(error).__name__} in {type(model).__name__}"
        raise UsageError(f"{type(model).__name__} takes no images of {height} x {width} px: {cause}") from error


def refusal(model: nn.Module, image_size: int, channels: int | None = None) -> str:
    """Why ``model`` cannot take images of that size, in its own words; empty if it can."""
    try:
        forward_on_meta(model, image_size, channels)
    except UsageError as error:
        return str(error).partition(" px: ")[2]
    return ""


def accepted_near(model: nn.Module, image_size: int) -> list[int]:
    """The nearest smaller and larger sizes that ``model`` takes, of those that networks often take and its own."""
    native = getattr(model, "pretrained_cfg", None) or {}
    sides = {image_size // m * m for m in MULTIPLES} | {(image_size // m + 1) * m for m in MULTIPLES}
    sides |= {native["input_size"][-1]} if "input_size" in native else set()
    taken = sorted(side for side in sides if side > 0 and not refusal(model, side))
    below, above = [s for s in taken if s < image_size], [s for s in taken if s > image_size]
    return below[-1:] + above[:1]


class Counts(NamedTuple):
    """``params``: elements of all parameters; ``macs``: multiply-accumulates of one image."""

    params: int
    macs: int


def count(model: nn.Module, image_size: int | tuple[int, int] = 224) -> Counts:
    """Counts at ``image_size`` (pixels, or height and width), batch 1, evaluation mode.

    MACs are those of convolutions and matrix products, as papers count them: no BN, activation, bias or pooling, and
    all branches of a multi-branch convolution.
    Nothing is computed (meta tensors), so it takes the same fraction of a second at any size. Raises ``UsageError``
    for a size that the model does not take.
    """
    with FlopCounterMode(display=False) as counter:
        forward_on_meta(model, image_size)
    return Counts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


class NetworkStage(NamedTuple):
    """Neighbouring blocks with the same output: how many, its channels, and the side of its maps in pixels."""

    blocks: int
    channels: int
    size: int


def network_stages(model: nn.Module, image_size: int) -> list[NetworkStage]:
    """The stages of a GhostNet, an EfficientNet, a MobileNet or a ResNet on the meta device, from first to last.

    Blocks are told apart by what they put out for an image of ``image_size`` pixels; nothing is computed. Raises
    ``UsageError`` for another network.
    """
    outputs: list[tuple[int, int]] = []

    def note(block: nn.Module, inputs: object, output: Tensor) -> None:
        outputs.append((output.shape[1], output.shape[-1]))

    hooks = [block.register_forward_hook(note) for block in _blocks(model)]
    with evaluating(model):
        model(torch.empty(1, image_channels(model), image_size, image_size, device="meta"))
    for hook in hooks:
        hook.remove()
    found: list[NetworkStage] = []
    for output in outputs:
        if found and found[-1][1:] == output:
            found[-1] = found[-1]._replace(blocks=found[-1].blocks + 1)
        else:
            found.append(NetworkStage(1, *output))
    return found


def _blocks(model: nn.Module) -> list[nn.Module]:
    if isinstance(model, ResNet):
        groups: list[Any] = [model.layer1, model.layer2, model.layer3, model.layer4]
    elif isinstance(model, GhostNet | EfficientNet | MobileNetV3):
        groups = list(model.blocks)
    else:
        raise UsageError(
            f"a {type(model).__name__} has no stages; allowed: GhostNets, EfficientNets, MobileNets, ResNets"
        )
    blocks = [block for group in groups for block in group]
    return [block for block in blocks if not isinstance(block, nn.Sequential)]  # GhostNet's last 1x1 convolution
