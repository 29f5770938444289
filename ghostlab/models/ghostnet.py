"""GhostNet V1 and V2, read from top to bottom: the table of blocks, the Ghost module, the attention gate, the network.

Papers: GhostNet (https://arxiv.org/abs/1911.11907), GhostNetV2 (https://arxiv.org/abs/2211.12905). Names of parameters,
rounding of channels and behaviour follow the authors' code (https://github.com/huawei-noah/Efficient-AI-Backbones), so
that their weights fit. GhostNetV3 is not another network: it is V2 with branches grown in ``REPARAM_INCLUDE``.
"""

# No ``from __future__ import annotations``: in traced code TorchScript reads them, and they have to be types, not text.
from collections import OrderedDict
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import DropPath, SelectAdaptivePool2d, make_divisible
from timm.models import checkpoint_seq
from torch import Tensor, nn

from ghostlab.models.intermediates import Intermediates
from ghostlab.models.options import check
from ghostlab.models.scaling import round_filters, round_repeats

__all__ = [
    "REPARAM_INCLUDE",
    "STAGES",
    "AttentiveGhostModule",
    "BlockRow",
    "DFCAttention",
    "GhostBottleneck",
    "GhostModule",
    "GhostNet",
    "SqueezeExcite",
    "set_drop_path",
]

REPARAM_INCLUDE = ("*.primary_conv.0", "*.cheap_operation.0", "*.conv_dw")
"""Names of the convolutions that GhostNetV3 (https://arxiv.org/abs/2404.11202) trains with parallel branches."""

HEAD_CHANNELS = 1280


class BlockRow(NamedTuple):
    """One block of the table: channels are those of width 1.0, ``kernel`` is that of its k x k depthwise parts."""

    kernel: int
    expanded: int
    out: int
    se: bool
    stride: int


STAGES = (
    (BlockRow(3, 16, 16, False, 1),),
    (BlockRow(3, 48, 24, False, 2),),
    (BlockRow(3, 72, 24, False, 1),),
    (BlockRow(5, 72, 40, True, 2),),
    (BlockRow(5, 120, 40, True, 1),),
    (BlockRow(3, 240, 80, False, 2),),
    (
        BlockRow(3, 200, 80, False, 1),
        BlockRow(3, 184, 80, False, 1),
        BlockRow(3, 184, 80, False, 1),
        BlockRow(3, 480, 112, True, 1),
        BlockRow(3, 672, 112, True, 1),
    ),
    (BlockRow(5, 672, 160, True, 2),),
    (
        BlockRow(5, 960, 160, False, 1),
        BlockRow(5, 960, 160, True, 1),
        BlockRow(5, 960, 160, False, 1),
        BlockRow(5, 960, 160, True, 1),
    ),
)
FIRST_ATTENTIVE_STAGE = 2


def scaled(width: float, depth: float) -> list[list[BlockRow]]:
    """The table of a network ``width`` times as wide and ``depth`` times as deep.

    Channels are rounded to multiples of 4, at most 10 % down. What is deepened is a run of blocks with the same output
    channels, across the stages of the table: its number of blocks is rounded up, its last row is repeated, or blocks
    are left out from its end. A stage may so become empty; the names of the others stay.
    """

    def channels(count: int) -> int:
        return round_filters(count, width, divisor=4)

    stages: list[list[BlockRow]] = [[] for _ in STAGES]
    placed = [(stage, row) for stage, rows in zip(stages, STAGES, strict=True) for row in rows]
    for _, run in groupby(placed, key=lambda place: place[1].out):
        blocks = list(run)
        count = round_repeats(len(blocks), depth)
        for stage, row in [*blocks, *blocks[-1:] * (count - len(blocks))][:count]:
            stage.append(row._replace(expanded=channels(row.expanded), out=channels(row.out)))
    return stages


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


class GhostNet(Intermediates):
    """GhostNet V1 (``attention=False``) or V2, with the interface of timm's models.

    Images (B, in_chans, H, W) from 16 px, of any shape -> logits (B, num_classes), or (B, 1280) without classes.
    ``width`` and ``depth`` multiply the channels and the blocks of the table, see ``scaled``. ``stem_stride=1`` keeps
    the resolution of small images. ``drop_path_rate`` is that of the last block, see
    ``set_drop_path``; the ``DropPath`` modules are always there. Raises ``UsageError`` for a value not allowed.
    """

    reparam_include = REPARAM_INCLUDE

    def __init__(
        self,
        attention: bool = True,
        width: float = 1.0,
        depth: float = 1.0,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.0,
        stem_stride: int = 2,
        gate_upsample: str = "nearest",
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        check(width=width, depth=depth, num_classes=num_classes, in_chans=in_chans, drop_rate=drop_rate)
        check(drop_path_rate=drop_path_rate, stem_stride=stem_stride, gate_upsample=gate_upsample)
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.feature_info: list[dict[str, Any]] = []

        chs = round_filters(16, width, divisor=4)
        self.conv_stem, self.bn1 = conv_bn(in_chans, chs, (3, 3), stem_stride)
        self.act1 = activation()
        stages, reduction = [], stem_stride
        for index, rows in enumerate(scaled(width, depth)):
            gate = gate_upsample if attention and index >= FIRST_ATTENTIVE_STAGE else None
            inputs = [chs, *(row.out for row in rows)]
            stages.append(nn.Sequential(*(GhostBottleneck(c, row, gate) for c, row in zip(inputs, rows, strict=False))))
            if rows:
                chs, reduction = rows[-1].out, reduction * rows[0].stride
                self._note_features(chs, reduction, f"blocks.{index}")
        self.num_features = round_filters(960, width, divisor=4)
        conv, bn = conv_bn(chs, self.num_features)
        stages.append(nn.Sequential(nn.Sequential(OrderedDict(conv=conv, bn1=bn, act1=activation()))))
        self.blocks = nn.Sequential(*stages)
        self.head_hidden_size = HEAD_CHANNELS
        self.conv_head = nn.Conv2d(self.num_features, HEAD_CHANNELS, 1)
        self.act2 = activation()
        self.reset_classifier(num_classes, global_pool)
        set_drop_path(self, drop_path_rate)

    def _note_features(self, chs: int, reduction: int, module: str) -> None:
        """Keep the last stage of each resolution as a level of the feature pyramid."""
        if self.feature_info and self.feature_info[-1]["reduction"] == reduction:
            self.feature_info.pop()
        self.feature_info.append({"num_chs": chs, "reduction": reduction, "module": module})

    def forward_features(self, x: Tensor) -> Tensor:
        """Images -> (B, num_features, ceil(H / 32), ceil(W / 32)), or 1/16 with ``stem_stride=1``."""
        x = self.forward_stem(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpoint_seq(self.blocks, x, flatten=True)
        return self.blocks(x)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv_stem(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What ``forward_features`` returns -> logits (B, num_classes), or (B, 1280) with ``pre_logits``.

        Without pooling both are maps, (B, num_classes, H, W) and (B, 1280, H, W).
        """
        x = self.act2(self.conv_head(self.global_pool(x)))
        if not self.global_pool.is_identity():
            x = x.flatten(1)
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        return self.classifier

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, none for 0 classes; ``global_pool``: "avg", "max", "avgmax", or "" to classify the map.

        None keeps the pooling that there is.
        """
        if global_pool is not None:
            check(global_pool=global_pool)
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool)
        self.num_classes = num_classes
        layer = partial(nn.Conv2d, kernel_size=1) if self.global_pool.is_identity() else nn.Linear
        self.classifier = layer(HEAD_CHANNELS, num_classes) if num_classes else nn.Identity()
        self.classifier.to(self.conv_head.weight).train(self.training)

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass. BN's running statistics then see every batch twice."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which timm groups parameters into layers, for layer-wise learning rates."""
        block = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^conv_stem|^bn1", "blocks": [(block, None), (r"^conv_head", (99999,))]}


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Set the rates of the model's ``DropPath`` modules, from 0 at the first linearly to ``rate`` at the last."""
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    for i, path in enumerate(paths):
        path.drop_prob = rate * i / max(1, len(paths) - 1)
