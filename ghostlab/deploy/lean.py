"""A folded GhostNet with fewer and larger operations: the same outputs, bit by bit where the kernels allow it.

For inference only. Three things cost time in a GhostNet and compute nothing:

- **Joining the halves of a Ghost module.** Where they are narrow the primary convolution is computed twice instead, and
  the cheap one also passes its first half on (a kernel of one 1): no concatenation. ReLU twice is ReLU once.
- **Channels that do not fill a block.** Runtimes compute 8 or 16 channels together and lay them out so; a half of 12
  channels has to be laid out anew to be joined. Padded with zeros to whole blocks it need not be.
- **What only training needs**: places of norms, drop path, a new tensor for every product and sum.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.models.ghost_blocks import DFCAttention, GhostBottleneck, GhostModule, SqueezeExcite, activation, halved
from ghostlab.models.ghostnet import GhostNet
from ghostlab.reparam.norms import BatchNorm

__all__ = ["lean"]

NARROW = 8
"""Halves of up to so many channels are cheaper to compute twice than to join, whatever the runtime."""


class Layout(NamedTuple):
    """Where the channels of a feature map are, in one that may have others of zeros between them."""

    places: Tensor
    size: int


def lean(model: nn.Module, block: int = 1) -> nn.Module:
    """A lean copy of a folded ``GhostNet``, for images of any size; any other model is returned as it is.

    ``block``: channels that the runtime computes together, to multiples of which the halves are padded. The names of
    the convolutions and linear layers stay what they were. Not for training: it works in place.
    """
    if not isinstance(model, GhostNet) or any(isinstance(m, BatchNorm) for m in model.modules()):
        return model
    with torch.no_grad():
        return LeanGhostNet(model, block).eval()


class LeanGhostNet(nn.Module):
    """Images (B, 3, H, W) -> logits (B, classes)."""

    def __init__(self, model: GhostNet, block: int) -> None:
        super().__init__()
        self.pretrained_cfg = getattr(model, "pretrained_cfg", None)
        channels = model.conv_stem.out_channels
        layout = _joined(channels // 2, block)
        self.conv_stem = _moved(model.conv_stem, _plain(model.conv_stem.in_channels), layout)
        stages: list[nn.Module] = []
        for stage in model.blocks[:-1]:
            blocks = []
            for bottleneck in stage.children():
                blocks.append(LeanBottleneck(bottleneck, layout, block))
                layout = blocks[-1].layout
            stages.append(nn.Sequential(*blocks))
        conv = _moved(model.get_submodule(f"blocks.{len(stages)}.0.conv"), layout, _plain(model.num_features))
        last = nn.Sequential(OrderedDict(conv=conv, act1=activation()))
        self.blocks = nn.Sequential(*stages, nn.Sequential(last))
        self.global_pool = model.global_pool
        self.conv_head, self.classifier = model.conv_head, model.classifier

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu_(self.conv_stem(x)))
        x = F.relu_(self.conv_head(self.global_pool(x)))
        return self.classifier(x if self.global_pool.is_identity() else x.flatten(1))


class LeanBottleneck(nn.Module):
    """A ``GhostBottleneck`` for images in ``inputs``; its own output is in ``layout``."""

    def __init__(self, old: nn.Module, inputs: Layout, block: int) -> None:
        super().__init__()
        assert isinstance(old, GhostBottleneck)
        self.ghost1 = LeanGhostModule(old.ghost1, inputs, block)
        wide = self.ghost1.layout
        self.conv_dw = _moved(old.conv_dw, wide, wide) if isinstance(old.conv_dw, nn.Conv2d) else None
        self.se = LeanSqueezeExcite(old.se, wide) if isinstance(old.se, SqueezeExcite) else None
        self.ghost2 = LeanGhostModule(old.ghost2, wide, block)
        self.layout = self.ghost2.layout
        self.shortcut = None
        if len(old.shortcut):
            depthwise, pointwise = (module for module in old.shortcut if isinstance(module, nn.Conv2d))
            parts = {"0": _moved(depthwise, inputs, inputs), "2": _moved(pointwise, inputs, self.layout)}
            self.shortcut = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        if self.conv_dw is not None:
            y = self.conv_dw(y)
        if self.se is not None:
            y = self.se(y)
        return self.ghost2(y).add_(x if self.shortcut is None else self.shortcut(x))


class LeanGhostModule(nn.Module):
    """A ``GhostModule``, with or without attention, whose halves are joined or computed as one."""

    def __init__(self, old: GhostModule, inputs: Layout, block: int) -> None:
        super().__init__()
        primary, cheap = old.primary_conv[0], old.cheap_operation[0]
        assert isinstance(primary, nn.Conv2d) and isinstance(cheap, nn.Conv2d)
        half = primary.out_channels
        self.layout, self.doubled = _joined(half, block), _doubled(half, block)
        inner = _plain(half, block)
        if self.doubled:
            primary, cheap, inner = _twice(primary), _passing(cheap), self.layout
        act = [activation()] if isinstance(old.primary_conv[-1], nn.ReLU) else []
        self.primary_conv = nn.Sequential(_moved(primary, inputs, inner), *act)
        self.cheap_operation = nn.Sequential(_moved(cheap, inner, inner), *act)
        attention = getattr(old, "short_conv", None)
        self.short_conv = LeanAttention(attention, inputs, self.layout) if attention is not None else None

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        cheap = self.cheap_operation(primary)
        y = cheap if self.doubled else torch.cat([primary, cheap], dim=1)
        return y if self.short_conv is None else y.mul_(self.short_conv(x))


class LeanAttention(nn.Sequential):
    """A ``DFCAttention`` without the places of its norms."""

    def __init__(self, old: DFCAttention, inputs: Layout, outputs: Layout) -> None:
        convs = {name: module for name, module in old.named_children() if isinstance(module, nn.Conv2d)}
        sources = [inputs, outputs, outputs]
        super().__init__(
            OrderedDict((k, _moved(c, s, outputs)) for (k, c), s in zip(convs.items(), sources, strict=True))
        )
        self.upsample = old.upsample

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(super().forward(halved(x)))
        return F.interpolate(gate, size=x.shape[-2:], mode=self.upsample)


class LeanSqueezeExcite(nn.Module):
    """A ``SqueezeExcite`` that changes its input."""

    def __init__(self, old: SqueezeExcite, layout: Layout) -> None:
        super().__init__()
        squeezed = _plain(old.conv_reduce.out_channels)
        self.conv_reduce = _moved(old.conv_reduce, layout, squeezed)
        self.conv_expand = _moved(old.conv_expand, squeezed, layout)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = F.relu_(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x.mul_(F.hardsigmoid(self.conv_expand(squeezed)))


def _doubled(half: int, block: int) -> bool:
    """Whether both halves are one convolution: they are narrow, or fill blocks together that they do not fill alone."""
    fills = half % block != 0 and 2 * half % block == 0
    return half <= NARROW or (fills and half < 2 * block)


def _joined(half: int, block: int) -> Layout:
    """Both halves, one after the other."""
    if _doubled(half, block):
        return _plain(2 * half)
    places, size = _plain(half, block)
    return Layout(torch.cat([places, size + places]), 2 * size)


def _plain(channels: int, block: int = 1) -> Layout:
    return Layout(torch.arange(channels), -(-channels // block) * block)


def _twice(conv: nn.Conv2d) -> nn.Conv2d:
    """Its outputs, and once more its outputs."""
    new = _like(conv, conv.in_channels, 2 * conv.out_channels, conv.groups)
    new.weight.copy_(conv.weight.repeat(2, 1, 1, 1))
    _bias(new).copy_(_bias(conv).repeat(2))
    return new


def _passing(conv: nn.Conv2d) -> nn.Conv2d:
    """What comes in, and then what the depthwise ``conv`` makes of it, given two copies of its input."""
    channels = conv.out_channels
    new = _like(conv, 2 * channels, 2 * channels, 2 * channels)
    new.weight[:channels, :, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    new.weight[channels:] = conv.weight
    _bias(new)[channels:] = _bias(conv)
    return new


def _moved(conv: nn.Module, inputs: Layout, outputs: Layout) -> nn.Conv2d:
    """The convolution from one layout to another; what is not among the ``outputs`` is zero."""
    assert isinstance(conv, nn.Conv2d)
    depthwise = conv.groups > 1
    new = _like(conv, inputs.size, outputs.size, outputs.size if depthwise else 1)
    taps = torch.arange(1) if depthwise else inputs.places
    new.weight[outputs.places[:, None], taps] = conv.weight
    _bias(new)[outputs.places] = _bias(conv)
    return new


def _like(conv: nn.Conv2d, inputs: int, outputs: int, groups: int) -> nn.Conv2d:
    """Zeros, with the geometry of ``conv`` and a bias."""
    kernel, stride, padding = conv.kernel_size, conv.stride, conv.padding
    like = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    new = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, **like)  # type: ignore[arg-type]
    new.weight.zero_()
    _bias(new).zero_()
    return new.requires_grad_(False)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
