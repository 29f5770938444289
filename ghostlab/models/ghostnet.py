"""GhostNet V1 and V2, read from top to bottom: the table of blocks, the network of them, and its interface of timm's.

Papers: GhostNet (https://arxiv.org/abs/1911.11907), GhostNetV2 (https://arxiv.org/abs/2211.12905). Names of parameters,
rounding of channels and behaviour follow the authors' code (https://github.com/huawei-noah/Efficient-AI-Backbones), so
that their weights fit. GhostNetV3 is not another network: it is V2 with branches grown in ``REPARAM_INCLUDE``.
"""

# No ``from __future__ import annotations``: in traced code TorchScript reads them, and they have to be types, not text.
from collections import OrderedDict
from functools import partial
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, SelectAdaptivePool2d
from timm.models import checkpoint_seq
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.models.ghost_blocks import BlockRow, GhostBottleneck, activation, conv_bn
from ghostlab.models.options import check_options
from ghostlab.models.scaling import round_filters, round_repeats

__all__ = ["GhostNet", "set_drop_path"]

REPARAM_INCLUDE = ("*.primary_conv.0", "*.cheap_operation.0", "*.conv_dw")
"""Names of the convolutions that GhostNetV3 (https://arxiv.org/abs/2404.11202) trains with parallel branches."""

HEAD_CHANNELS = 1280

Levels = int | list[int] | tuple[int, ...] | None
"""Levels of ``feature_info``: the last so many, those listed (negative ones count from the end), or None for all."""

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


def scaled_stages(width: float, depth: float) -> list[list[BlockRow]]:
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


class GhostNet(nn.Module):
    """GhostNet V1 (``attention=False``) or V2, with the interface of timm's models.

    Images (B, in_chans, H, W) from 16 px, of any shape -> logits (B, num_classes), or (B, 1280) without classes.
    ``width`` and ``depth`` multiply the channels and the blocks of the table, see ``scaled_stages``. ``stem_stride=1``
    keeps the resolution of small images. ``drop_path_rate`` is that of the last block, see ``set_drop_path``; the
    ``DropPath`` modules are always there. Raises ``UsageError`` for a value not allowed.
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
        check_options(width=width, depth=depth, num_classes=num_classes, in_chans=in_chans, drop_rate=drop_rate)
        check_options(drop_path_rate=drop_path_rate, stem_stride=stem_stride, gate_upsample=gate_upsample)
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.feature_info: list[dict[str, Any]] = []

        chs = round_filters(16, width, divisor=4)
        self.conv_stem, self.bn1 = conv_bn(in_chans, chs, (3, 3), stem_stride)
        self.act1 = activation()
        stages, reduction = [], stem_stride
        for index, rows in enumerate(scaled_stages(width, depth)):
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
            check_options(global_pool=global_pool)
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

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Levels = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps (B, num_chs, H / reduction, W / reduction) of the levels ``indices``, after the last output.

        The last output is that of ``forward_features``, or with ``stop_early`` of the last stage that is wanted;
        ``intermediates_only`` leaves it away. ``norm`` is for networks with a norm behind the last stage, which has
        no meaning here. Raises ``UsageError`` for an ``output_fmt`` other than NCHW and a level that there is not.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"output_fmt={output_fmt}: must be NCHW")
        ends = self._stage_ends(indices)
        x, found = self.forward_stem(x), []
        for index, stage in enumerate(self.blocks[: ends[-1] + 1] if stop_early else self.blocks):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
            if index in ends:
                found.append(x)
        return found if intermediates_only else (x, found)

    def prune_intermediate_layers(
        self, indices: Levels = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages behind the last level wanted, and the classifier; returns the levels, counted from 0."""
        self.blocks = self.blocks[: self._stage_ends(indices)[-1] + 1]
        if prune_head:
            self.reset_classifier(0, "")
        return self._levels(indices)

    def _note_features(self, chs: int, reduction: int, module: str) -> None:
        """Keep the last stage of each resolution as a level of the feature pyramid."""
        if self.feature_info and self.feature_info[-1]["reduction"] == reduction:
            self.feature_info.pop()
        self.feature_info.append({"num_chs": chs, "reduction": reduction, "module": module})

    def _stage_ends(self, indices: Levels) -> list[int]:
        """The stages, from 0, whose outputs are the levels ``indices``, in the order of computation."""
        modules = [self.feature_info[level]["module"] for level in sorted(self._levels(indices))]
        return [int(module.rpartition(".")[2]) for module in modules]

    def _levels(self, indices: Levels) -> list[int]:
        levels = range(len(self.feature_info))
        try:
            if indices is None or isinstance(indices, int):
                return [levels[i] for i in range(-(len(levels) if indices is None else indices), 0)]
            return [levels[i] for i in indices]
        except IndexError as error:
            raise UsageError(f"indices={indices}: there are {len(levels)} levels") from error


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Set the rates of the model's ``DropPath`` modules, from 0 at the first linearly to ``rate`` at the last."""
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    for i, path in enumerate(paths):
        path.drop_prob = rate * i / max(1, len(paths) - 1)
