"""The stages of a network, as it was built."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models import EfficientNet, MobileNetV3, ResNet
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.models.ghostnet import GhostNet
from ghostlab.reparam.trace import evaluating, image_channels

__all__ = ["NetworkStage", "stages"]


class NetworkStage(NamedTuple):
    """Neighbouring blocks with the same output: how many, its channels, and the side of its maps in pixels."""

    blocks: int
    channels: int
    size: int


def stages(model: nn.Module, image_size: int) -> list[NetworkStage]:
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
