"""EfficientNet-B4 with Fused-MBConv in its first stages: the networks of EfficientNetV2's ablation.

Table 3 of https://arxiv.org/abs/2104.00298 replaces the blocks of stages 1-3, 1-5 and 1-7. It prints neither the
kernels nor whether squeeze-excite stays. As in the authors' code (https://github.com/google/automl) a fused block has
none here, and one that does not expand is a single convolution. The kernels are B4's own, but 3x3 in stage 3, which
fits the table best: see docs/scaling.md.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.models import generate_default_cfgs, register_model
from torch import nn

from ghostlab.models.scaling import OFFICIAL, round_filters
from ghostlab.private_apis import create_effnet, decode_arch_def, effnet_cfg, resolve_act_layer, resolve_bn_args

__all__ = ["NAMES", "generate"]

MBCONV = (
    "ds_r1_k3_s1_e1_c16_se0.25",
    "ir_r2_k3_s2_e6_c24_se0.25",
    "ir_r2_k5_s2_e6_c40_se0.25",
    "ir_r3_k3_s2_e6_c80_se0.25",
    "ir_r3_k5_s1_e6_c112_se0.25",
    "ir_r4_k5_s2_e6_c192_se0.25",
    "ir_r1_k3_s1_e6_c320_se0.25",
)
FUSED = (
    "cn_r1_k3_s1_e1_c16_skip",
    "er_r2_k3_s2_e6_c24",
    "er_r2_k3_s2_e6_c40",
    "er_r3_k3_s2_e6_c80",
    "er_r3_k5_s1_e6_c112",
    "er_r4_k5_s2_e6_c192",
    "er_r1_k3_s1_e6_c320",
)
"""The stages of B0, in timm's notation: kernel, stride, expansion and channels of one block, and its repeats."""

B4 = OFFICIAL["efficientnet_b4"]
NAMES = {f"ghostlab_efficientnet_b4_fused{stages}": stages for stages in (3, 5, 7)}
# register_model finds a model's configuration here, under the name of its function.
default_cfgs = generate_default_cfgs(
    {name: {**effnet_cfg(), "input_size": (3, B4.resolution, B4.resolution), "pool_size": (12, 12)} for name in NAMES}
)


def generate(
    variant: str,
    channel_multiplier: float = B4.width,
    depth_multiplier: float = B4.depth,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """One of ``NAMES``, wider and deeper than B0 by the two factors; interface of timm's generators."""
    stages = NAMES[variant]
    blocks = [[text] for text in (*FUSED[:stages], *MBCONV[stages:])]
    filters = partial(round_filters, width=channel_multiplier)
    norm = options.pop("norm_layer", None) or partial(nn.BatchNorm2d, **resolve_bn_args(options))
    return create_effnet(
        variant,
        pretrained,
        block_args=decode_arch_def(blocks, depth_multiplier),
        num_features=filters(1280),
        stem_size=32,
        round_chs_fn=filters,
        act_layer=resolve_act_layer(options, "swish"),
        norm_layer=norm,
        **options,
    )


@register_model
def ghostlab_efficientnet_b4_fused3(pretrained: bool = False, **options: Any) -> nn.Module:
    """EfficientNet-B4 with Fused-MBConv in stages 1 to 3."""
    return generate("ghostlab_efficientnet_b4_fused3", pretrained=pretrained, **options)


@register_model
def ghostlab_efficientnet_b4_fused5(pretrained: bool = False, **options: Any) -> nn.Module:
    """EfficientNet-B4 with Fused-MBConv in stages 1 to 5."""
    return generate("ghostlab_efficientnet_b4_fused5", pretrained=pretrained, **options)


@register_model
def ghostlab_efficientnet_b4_fused7(pretrained: bool = False, **options: Any) -> nn.Module:
    """EfficientNet-B4 with Fused-MBConv in all of its 7 stages."""
    return generate("ghostlab_efficientnet_b4_fused7", pretrained=pretrained, **options)
