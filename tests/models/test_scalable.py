"""Wider and deeper models, against the exact counts of the graphs that others define."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

import ghostlab
from ghostlab.models.ghost_blocks import AttentiveGhostModule, GhostBottleneck


def build(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return ghostlab.create_model(name, **options)


class TestTimm:
    @pytest.mark.parametrize(
        ("name", "width", "depth", "size", "params", "macs"),
        [
            pytest.param("mobilenetv1", 2.0, 1.0, 224, 14_742_120, 2_216_465_408, id="mobilenetv1-wide"),
            pytest.param("mobilenetv1", 1.2, 1.4, 296, 8_677_512, 2_485_726_984, id="mobilenetv1-compound"),
            pytest.param("mobilenetv2", 1.0, 4.0, 224, 12_051_800, 1_219_587_776, id="mobilenetv2-deep"),
            pytest.param("mobilenetv2", 2.0, 1.0, 224, 11_258_088, 1_137_428_224, id="mobilenetv2-wide"),
            pytest.param("mobilenetv2", 1.2, 1.4, 291, 7_987_552, 1_442_045_088, id="mobilenetv2-compound"),
            pytest.param("resnet50", 1.0, 4.0, 224, 89_824_040, 14_570_749_952, id="resnet50-deep"),
            pytest.param("resnet50", 2.0, 1.0, 224, 97_953_576, 15_870_148_608, id="resnet50-wide"),
            pytest.param("resnet50", 1.2, 1.4, 291, 54_796_040, 15_861_736_832, id="resnet50-compound"),
            pytest.param("efficientnet_b0", 1.0, 4.0, 224, 20_091_856, 1_575_132_640, id="b0-deep"),
            pytest.param("efficientnet_b0", 2.0, 1.0, 224, 18_122_720, 1_449_958_848, id="b0-wide"),
            pytest.param("efficientnet_b0", 1.2, 1.4, 300, 12_233_232, 1_827_141_392, id="b0-as-b3"),
        ],
    )
    def test_exact_counts(self, name: str, width: float, depth: float, size: int, params: int, macs: int) -> None:
        assert ghostlab.models.count(build(name, width=width, depth=depth), size) == (params, macs)

    @pytest.mark.parametrize(
        ("small", "factors", "large"),
        [
            pytest.param("efficientnet_b0", {"width": 1.1, "depth": 1.2}, "efficientnet_b2", id="v1"),
            pytest.param("efficientnetv2_b0", {"width": 1.2, "depth": 1.4}, "efficientnetv2_b3", id="v2"),
            pytest.param("mobilenetv2", {"width": 1.4}, "mobilenetv2_140", id="mobilenetv2"),
            pytest.param("resnet34", {"depth": 1.0, "width": 1.0}, "resnet34", id="unscaled"),
        ],
    )
    def test_a_scaled_model_is_the_larger_one_of_its_family(
        self, small: str, factors: dict[str, float], large: str
    ) -> None:
        def shapes(model: nn.Module) -> dict[str, torch.Size]:
            return {name: tensor.shape for name, tensor in model.state_dict().items()}

        assert shapes(build(small, **factors)) == shapes(build(large))

    def test_factors_multiply_those_of_the_named_model(self) -> None:
        # B1's own depth is 1.1: five blocks, ceil(4 * 1.1), become ceil(4 * 1.1 * 1.5)
        assert len(build("efficientnet_b1", depth=1.5).blocks[5]) == 7

    def test_other_options_reach_the_scaled_model(self) -> None:
        model = build("efficientnet_b0", width=0.5, num_classes=7, in_chans=1, drop_rate=0.3, stem_stride=1)
        assert (model.num_classes, model.conv_stem.in_channels, model.drop_rate) == (7, 1, 0.3)
        assert model.conv_stem.stride == (1, 1)

    def test_the_layers_of_the_tf_models_are_kept(self) -> None:
        model = build("efficientnetv2_b0", width=1.1)
        assert model.bn1.eps == 1e-3
        assert type(model.conv_stem).__name__ == "Conv2dSame"


class TestGhostNet:
    @staticmethod
    def stages(depth: float) -> list[int]:
        return [len(stage) for stage in build("ghostnetv2", depth=depth).blocks][:-1]

    @pytest.mark.parametrize(
        ("depth", "blocks"),
        [
            pytest.param(1.0, [1, 1, 1, 1, 1, 1, 5, 1, 4], id="as-published"),
            # ceil(1.2 n) of 1, 2, 2, 4, 2 and 5 blocks are 2, 3, 3, 5, 3 and 6
            pytest.param(1.2, [2, 1, 2, 1, 2, 1, 7, 1, 5], id="deeper"),
            pytest.param(0.5, [1, 1, 0, 1, 0, 1, 2, 1, 2], id="shallower"),
        ],
    )
    def test_blocks_of_each_stage(self, depth: float, blocks: list[int]) -> None:
        assert self.stages(depth) == blocks

    def test_extra_blocks_repeat_the_last_of_their_width(self) -> None:
        stage = build("ghostnetv2", depth=1.2).blocks[6]
        outputs = [block.ghost2.primary_conv[0].out_channels * 2 for block in stage]
        assert outputs == [80, 80, 80, 80, 112, 112, 112]
        extra = stage[3]
        assert extra.ghost1.primary_conv[0].out_channels * 2 == 184
        assert len(extra.shortcut) == 0

    def test_extra_blocks_have_attention_where_their_neighbours_do(self) -> None:
        model = build("ghostnetv2", depth=2.0)
        blocks = [module for module in model.modules() if isinstance(module, GhostBottleneck)]
        gated = [block for block in blocks if isinstance(block.ghost1, AttentiveGhostModule)]
        assert (len(blocks), len(gated)) == (32, 29)  # not the two of 16 channels, nor the first of 24

    def test_version_3_grows_branches_in_every_block(self) -> None:
        model = build("ghostnetv3", depth=1.5)
        assert all(hasattr(block.ghost1.primary_conv[0], "branches") for stage in model.blocks[:-1] for block in stage)

    @pytest.mark.parametrize("depth", [0.4, 1.3])
    def test_runs_and_says_its_features(self, depth: float) -> None:
        options: dict[str, Any] = {"width": 0.5, "depth": depth}
        images = torch.randn(1, 3, 64, 64)
        assert ghostlab.create_model("ghostnetv2", num_classes=3, **options).eval()(images).shape == (1, 3)
        pyramid = timm.create_model("ghostlab_ghostnetv2", features_only=True, **options).eval()(images)
        assert [(level.shape[1], level.shape[2]) for level in pyramid] == [(8, 32), (12, 16), (20, 8), (56, 4), (80, 2)]

    def test_a_shallow_network_with_branches_fuses(self) -> None:
        model = ghostlab.create_model("ghostnetv3", width=0.5, depth=0.4, num_classes=3).double().eval()
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        fused, _ = ghostlab.fuse(model, images)
        with torch.no_grad():
            torch.testing.assert_close(fused(images), model(images), atol=1e-12, rtol=1e-10)
