"""The parts of a GhostNet, from the smallest: the Ghost module, the attention gate, squeeze-excite, the bottleneck."""

# No ``from __future__ import annotations``: in traced code TorchScript reads them, and they have to be types, not text.
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import DropPath, make_divisible
from torch import Tensor, nn

__all__ = [
    "AttentiveGhostModule",
    "BlockRow",
    "DFCAttention",
    "GhostBottleneck",
    "GhostModule",
    "SqueezeExcite",
    "activation",
    "conv_bn",
    "halved",
]


class BlockRow(NamedTuple):
    """One block of the table: channels are those of width 1.0, ``kernel`` is that of its k x k depthwise parts."""

    kernel: int
    expanded: int
    out: int
    se: bool
    stride: int


def conv_bn(
    in_chs: int, out_chs: int, kernel: tuple[int, int] = (1, 1), stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution without bias that keeps the size (at stride 1), and its batch norm."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(in_chs, out_chs, kernel, stride, padding, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_chs)


def activation(wanted: bool = True) -> nn.Module:
    """ReLU in place: only ever behind a batch norm or a convolution, whose gradients do not need their output."""
    return nn.ReLU(inplace=True) if wanted else nn.Identity()


class GhostModule(nn.Module):
    """Half of the features by a 1x1 convolution, the other half from those by a cheap depthwise 3x3 (V1, section 3.1).

    (B, in_chs, H, W) -> (B, out_chs, H, W), ``out_chs`` even.
    """

    def __init__(self, in_chs: int, out_chs: int, act: bool = True) -> None:
        super().__init__()
        half = out_chs // 2
        self.primary_conv = nn.Sequential(*conv_bn(in_chs, half), activation(act))
        self.cheap_operation = nn.Sequential(*conv_bn(half, half, (3, 3), groups=half), activation(act))

    def forward(self, x: Tensor) -> Tensor:
        return self.ghost_features(x)

    def ghost_features(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        return torch.cat([primary, self.cheap_operation(primary)], dim=1)


class DFCAttention(nn.Sequential):
    """Decoupled fully connected attention (V2, section 4.1): along rows, then along columns, at half the size.

    (B, in_chs, H, W) -> a gate (B, out_chs, H, W) in (0, 1). As in the authors' code the two fully connected layers are
    1x5 and 5x1 depthwise convolutions. ``upsample``: "nearest" as in that code, or "bilinear" as in the paper.
    """

    def __init__(self, in_chs: int, out_chs: int, upsample: str = "nearest") -> None:
        horizontal = conv_bn(out_chs, out_chs, (1, 5), groups=out_chs)
        vertical = conv_bn(out_chs, out_chs, (5, 1), groups=out_chs)
        super().__init__(*conv_bn(in_chs, out_chs), *horizontal, *vertical)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        gate = halved(x)
        for layer in self:  # TorchScript knows no super()
            gate = layer(gate)
        return F.interpolate(torch.sigmoid(gate), size=x.shape[-2:], mode=self.upsample)


@torch.fx.wrap
def halved(x: Tensor) -> Tensor:
    """Average-pool by 2; a side of one pixel stays, so that small inputs work where the authors' code fails."""
    return F.avg_pool2d(x, kernel_size=[min(2, side) for side in x.shape[-2:]])


class AttentiveGhostModule(GhostModule):
    """The first Ghost module of a V2 bottleneck: ghost features times the attention gate (V2, section 4.2)."""

    def __init__(self, in_chs: int, out_chs: int, gate_upsample: str = "nearest") -> None:
        super().__init__(in_chs, out_chs)
        self.short_conv = DFCAttention(in_chs, out_chs, gate_upsample)

    def forward(self, x: Tensor) -> Tensor:
        return self.ghost_features(x) * self.short_conv(x)


class SqueezeExcite(nn.Module):
    """Channel gate with a hard sigmoid (https://arxiv.org/abs/1905.02244, section 5.3); keeps the shape."""

    def __init__(self, chs: int) -> None:
        super().__init__()
        reduced = make_divisible(chs * 0.25, 4)
        self.conv_reduce = nn.Conv2d(chs, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, chs, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.conv_expand(squeezed))


class GhostBottleneck(nn.Module):
    """Expand, (shrink), (squeeze-excite), project, plus shortcut (V1, section 3.2; V2, section 4.2).

    (B, in_chs, H, W) -> (B, row.out, ceil(H / stride), ceil(W / stride)); ``row`` holds this block's own channels.
    """

    def __init__(self, in_chs: int, row: BlockRow, gate_upsample: str | None = None) -> None:
        super().__init__()
        kernel = (row.kernel, row.kernel)
        self.ghost1 = GhostModule(in_chs, row.expanded)
        if gate_upsample:
            self.ghost1 = AttentiveGhostModule(in_chs, row.expanded, gate_upsample)
        self.conv_dw: nn.Module = nn.Identity()
        self.bn_dw: nn.Module = nn.Identity()
        if row.stride > 1:
            self.conv_dw, self.bn_dw = conv_bn(row.expanded, row.expanded, kernel, row.stride, groups=row.expanded)
        self.se = SqueezeExcite(row.expanded) if row.se else nn.Identity()
        self.ghost2 = GhostModule(row.expanded, row.out, act=False)
        self.shortcut = nn.Sequential()
        if row.stride > 1 or in_chs != row.out:
            depthwise = conv_bn(in_chs, in_chs, kernel, row.stride, groups=in_chs)
            self.shortcut = nn.Sequential(*depthwise, *conv_bn(in_chs, row.out))
        self.drop_path = DropPath()

    def forward(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        y = self.bn_dw(self.conv_dw(y))
        y = self.se(y)
        y = self.ghost2(y)
        return self.drop_path(y) + self.shortcut(x)
