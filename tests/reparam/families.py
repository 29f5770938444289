"""Networks of timm's and torchvision's families: narrow ones, with the kinds of blocks of their family, but few."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torchvision
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from timm.models.ghostnet import GhostNet
from timm.models.mobilenetv3 import MobileNetV3, decode_arch_def
from timm.models.regnet import RegNet, RegNetCfg
from timm.models.repghost import RepGhostNet
from torch import nn
from torchvision.models.efficientnet import MBConvConfig

import ghostlab

__all__ = ["BRANCHED", "PLAIN", "WITH_BRANCHES", "Build", "repvit"]

Build = Callable[[], nn.Module]
CLASSES = 4
GHOST_ROWS = [[[3, 16, 16, 0, 1]], [[3, 48, 24, 0, 2]], [[5, 72, 24, 0.25, 1]]]
"""Kernel, expanded channels, channels, squeeze ratio and stride of a block of each kind; versions 2 and 3 differ from
version 1 in the third."""


def scaled(name: str, depth: float) -> nn.Module:
    return ghostlab.create_model(name, CLASSES, width=0.25, depth=depth)


def mobilenetv4() -> nn.Module:
    middle = ["uir_r1_a5_k5_s2_e3_c24", "uir_r1_a0_k3_s1_e2_c24", "uir_r1_a3_k0_s1_e4_c24"]
    rows = decode_arch_def([["cn_r1_k3_s2_e1_c16"], middle, ["cn_r1_k1_s1_c48"]])
    return MobileNetV3(rows, CLASSES, stem_size=16, num_features=64, head_norm=True, act_layer=nn.ReLU)


def mobileone() -> nn.Module:
    """Each block is a depthwise and a pointwise one, of four branches each."""
    four = {"num_conv_branches": 4}
    depthwise = ByoBlockCfg("one", d=1, c=16, gs=1, block_kwargs=four)
    pointwise = [ByoBlockCfg("one", d=1, c=wide, gs=0, block_kwargs={"kernel_size": 1, **four}) for wide in (16, 24)]
    return ByobNet(ByoModelCfg(tuple([depthwise, one] for one in pointwise), stem_type="one", stem_chs=16), CLASSES)


def repvgg() -> nn.Module:
    stages = (ByoBlockCfg("rep", d=2, c=16), ByoBlockCfg("rep", d=1, c=24))
    return ByobNet(ByoModelCfg(stages, stem_type="rep", stem_chs=16), CLASSES)


def fastvit() -> nn.Module:
    return timm.create_model("fastvit_t8", num_classes=CLASSES, layers=(1,) * 4, embed_dims=(8, 16, 32, 64))


def repvit(classes: int = CLASSES) -> nn.Module:
    return timm.create_model("repvit_m0_9", num_classes=classes, depth=(2, 2), embed_dim=(16, 32))


def repghost() -> nn.Module:
    return RepGhostNet(GHOST_ROWS, CLASSES, width=0.5)


def torchvision_efficientnet() -> nn.Module:
    rows = [MBConvConfig(1, 3, 1, 32, 16, 1, 0.5, 1.0), MBConvConfig(6, 5, 2, 16, 24, 2, 0.5, 1.0)]
    return torchvision.models.EfficientNet(rows, dropout=0.2, num_classes=CLASSES)


PLAIN: dict[str, Build] = {
    "mobilenetv1": lambda: scaled("mobilenetv1", 0.2),
    "mobilenetv2": lambda: scaled("mobilenetv2", 0.5),
    "mobilenetv3": lambda: timm.create_model("mobilenetv3_small_050", num_classes=CLASSES),
    "mobilenetv4": mobilenetv4,
    "efficientnet": lambda: scaled("efficientnet_b0", 0.5),
    "efficientnetv2 with TF padding": lambda: scaled("efficientnetv2_b0", 0.3),
    "resnet": lambda: scaled("resnet18", 0.5),
    "regnety": lambda: RegNet(RegNetCfg(depth=5, w0=8, wa=12, wm=2, group_size=8, se_ratio=0.25), num_classes=CLASSES),
    "ghostnet": lambda: GhostNet(GHOST_ROWS, CLASSES, width=0.5),
    "ghostnetv2": lambda: GhostNet(GHOST_ROWS, CLASSES, width=0.5, version="v2"),
    "torchvision efficientnet": torchvision_efficientnet,
    "torchvision shufflenet": lambda: torchvision.models.ShuffleNetV2([1, 2, 1], [24, 24, 32, 48, 64], CLASSES),
}
WITH_BRANCHES: dict[str, Build] = {
    "mobileone": mobileone,
    "repvgg": repvgg,
    "repghost": repghost,
    "repvit": repvit,
    "fastvit": fastvit,
}
"""Families that have branches already: their convolutions grow too, and their blocks collapse by their own method."""
BRANCHED: dict[str, Build] = {
    **WITH_BRANCHES,
    "ghostnetv3": lambda: GhostNet(GHOST_ROWS, CLASSES, width=0.5, version="v3"),
}
"""And one of so many convolutions that to grow them all would take long."""
