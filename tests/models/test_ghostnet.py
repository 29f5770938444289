from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

import ghostlab
from ghostlab.errors import UsageError
from ghostlab.models import ghostnet
from ghostlab.models.ghost_blocks import AttentiveGhostModule, BlockRow, DFCAttention, GhostModule
from ghostlab.models.ghostnet import GhostNet, set_drop_path

Randomise = Callable[[nn.Module], nn.Module]
VERSIONS = [pytest.param(f"ghostnetv{v}", id=f"v{v}") for v in (1, 2, 3)]


def small(name: str = "ghostnetv2", **options: Any) -> nn.Module:
    return ghostlab.create_model(name, **{"num_classes": 10, "width": 0.5, **options})


@pytest.fixture
def _three_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind, the last two with attention, where each costs seconds."""
    table = ((BlockRow(3, 16, 16, False, 2),), (), (BlockRow(5, 48, 24, True, 2),), (BlockRow(3, 72, 24, False, 1),))
    monkeypatch.setattr(ghostnet, "STAGES", table)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """One small network of each version, in evaluation mode; tests leave them as they are."""
    torch.manual_seed(0)
    return {name: small(name).eval() for name in ("ghostnetv1", "ghostnetv2", "ghostnetv3")}


class TestAgainstTimm:
    """timm's port is an independent implementation of the same networks."""

    @pytest.mark.parametrize(
        ("reference", "name", "width"),
        [
            pytest.param("ghostnet_050", "ghostnetv1", 0.5, id="v1-0.5"),
            pytest.param("ghostnet_130", "ghostnetv1", 1.3, id="v1-1.3"),
            pytest.param("ghostnetv2_130", "ghostnetv2", 1.3, id="v2-1.3"),
            pytest.param("ghostnetv2_160", "ghostnetv2", 1.6, id="v2-1.6"),
            pytest.param("ghostnetv3_050", "ghostnetv3", 0.5, id="v3-0.5"),
        ],
    )
    @pytest.mark.parametrize("size", [pytest.param((64, 97), id="64x97"), pytest.param((65, 33), id="65x33")])
    def test_same_weights_same_logits(
        self, reference: str, name: str, width: float, size: tuple[int, int], randomised: Randomise
    ) -> None:
        theirs = randomised(timm.create_model(reference)).eval()
        ours = ghostlab.load_weights(ghostlab.create_model(name, width=width), theirs.state_dict()).eval()
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)


class TestShapes:
    @pytest.mark.parametrize("name", VERSIONS)
    @pytest.mark.parametrize(
        "size",
        [
            pytest.param(size, id="x".join(map(str, size)))
            for size in [(16, 16), (17, 31), (32, 32), (33, 80), (97, 64)]
        ],
    )
    def test_a_batch_of_one_of_any_size(self, networks: dict[str, nn.Module], name: str, size: tuple[int, int]) -> None:
        with torch.no_grad():
            logits = networks[name](torch.randn(1, 3, *size))
        assert logits.shape == (1, 10)
        assert logits.isfinite().all()

    @pytest.mark.parametrize("name", VERSIONS)
    def test_small_images_train(self, name: str) -> None:
        model = small(name).train()
        model(torch.randn(4, 3, 16, 16)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize(
        ("stem_stride", "side"), [pytest.param(2, 2, id="stride-2"), pytest.param(1, 4, id="stride-1")]
    )
    def test_stem_stride_sets_the_size_of_the_last_map(self, stem_stride: int, side: int) -> None:
        model = small(stem_stride=stem_stride).eval()
        assert model.forward_features(torch.randn(1, 3, 64, 64)).shape[-2:] == (side, side)

    def test_other_input_channels(self) -> None:
        assert small(in_chans=1).eval()(torch.randn(2, 1, 32, 32)).shape == (2, 10)

    def test_a_width_at_which_a_primary_convolution_has_an_identity_branch_fuses(self, randomised: Randomise) -> None:
        model = randomised(small("ghostnetv3", width=0.35, depth=0.1)).double().eval()
        assert model.blocks[1][0].ghost1.primary_conv[0].identity is not None
        images = torch.randn(2, 3, 40, 56, dtype=torch.float64)
        fused, _ = ghostlab.fuse(model, images)
        with torch.no_grad():
            torch.testing.assert_close(fused(images), model(images), atol=1e-12, rtol=1e-10)


class TestBlocks:
    def test_a_ghost_module_is_a_convolution_and_a_cheap_operation_on_it(self, randomised: Randomise) -> None:
        module = randomised(GhostModule(8, 12)).eval()
        x = torch.randn(2, 8, 5, 7)
        primary = module.primary_conv(x)
        torch.testing.assert_close(module(x), torch.cat([primary, module.cheap_operation(primary)], 1))
        assert module.cheap_operation[0].groups == 6
        assert (module(x) >= 0).all()

    def test_attention_multiplies_the_ghost_features(self, randomised: Randomise) -> None:
        module = randomised(AttentiveGhostModule(8, 12)).eval()
        x = torch.randn(2, 8, 6, 6)
        plain = GhostModule(8, 12).eval()
        plain.load_state_dict(module.state_dict(), strict=False)
        torch.testing.assert_close(module(x), plain(x) * module.short_conv(x))

    def test_the_gate_is_a_sigmoid_of_half_size_upsampled_by_repetition(self, randomised: Randomise) -> None:
        attention = randomised(DFCAttention(4, 6)).eval()
        x = torch.randn(1, 4, 6, 8)
        y = x.reshape(1, 4, 3, 2, 4, 2).mean((3, 5))
        for layer in attention:
            y = layer(y)
        expected = (1 / (1 + torch.exp(-y))).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(attention(x), expected)

    @pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
    def test_every_gate_is_upsampled_as_the_option_says(self, upsample: str) -> None:
        gates = [m for m in small(gate_upsample=upsample).modules() if isinstance(m, DFCAttention)]
        assert {gate.upsample for gate in gates} == {upsample}

    def test_bilinear_gates_are_smooth(self) -> None:
        x = torch.randn(1, 4, 8, 8)
        nearest, bilinear = DFCAttention(4, 4).eval(), DFCAttention(4, 4, "bilinear").eval()
        bilinear.load_state_dict(nearest.state_dict())
        small_gate = nearest(x)[:, :, ::2, ::2]
        # between two samples a and b, bilinear upsampling by 2 gives a + (b - a) / 4 and a + 3 (b - a) / 4
        a, b = small_gate[:, :, 0, 0], small_gate[:, :, 0, 1]
        torch.testing.assert_close(bilinear(x)[:, :, 0, 1], a + (b - a) / 4)
        torch.testing.assert_close(nearest(x)[:, :, 0, 1], a)

    @pytest.mark.parametrize("size", [pytest.param((1, 1), id="1x1"), pytest.param((1, 4), id="1x4")])
    def test_maps_of_one_pixel_keep_it(self, size: tuple[int, int]) -> None:
        attention = DFCAttention(4, 4).eval()
        x = torch.rand(1, 4, *size)
        pooled = x if size == (1, 1) else F.avg_pool1d(x[:, :, 0], 2)[:, :, None]
        expected = torch.sigmoid(nn.Sequential(*attention)(pooled))
        torch.testing.assert_close(attention(x), expected.repeat_interleave(size[1] // expected.shape[3], 3))

    def test_attention_is_in_14_of_16_blocks(self) -> None:
        model = small()
        gated = [name for name, module in model.named_modules() if isinstance(module, AttentiveGhostModule)]
        assert len(gated) == 14
        assert not any(name.startswith(("blocks.0", "blocks.1")) or name.endswith("ghost2") for name in gated)


class TestRegularisers:
    def test_drop_path_rates_grow_linearly_over_the_16_blocks(self) -> None:
        rates = [m.drop_prob for m in small(drop_path_rate=0.3).modules() if isinstance(m, DropPath)]
        assert rates == pytest.approx([0.02 * i for i in range(16)])

    def test_drop_path_can_be_set_later(self) -> None:
        model = small()
        set_drop_path(model, 0.15)
        assert [m.drop_prob for m in model.modules() if isinstance(m, DropPath)][-1] == pytest.approx(0.15)

    def test_a_dropped_path_leaves_the_shortcut(self) -> None:
        block = small().train().blocks[6][1]
        block.drop_path.drop_prob = 1 - 1e-12
        x = torch.randn(4, 40, 4, 4)
        torch.testing.assert_close(block(x), x)

    def test_nothing_is_dropped_in_evaluation(self, networks: dict[str, nn.Module]) -> None:
        model = small(drop_rate=0.9, drop_path_rate=0.9).eval()
        model.load_state_dict(networks["ghostnetv2"].state_dict())
        images = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(model(images), networks["ghostnetv2"](images))

    def test_dropout_sits_before_the_classifier(self) -> None:
        model = small(drop_rate=0.5).train()
        x = torch.rand(8, model.num_features, 1, 1) + 1
        dropped = model.forward_head(x, pre_logits=True)
        kept = model.eval().forward_head(x, pre_logits=True)
        assert ((dropped == 0) | torch.isclose(dropped, 2 * kept)).all()
        assert 0.4 < (dropped[kept > 0] == 0).float().mean() < 0.6


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "value"),
        [
            pytest.param("width", 0, id="width-0"),
            pytest.param("width", -1.0, id="width-negative"),
            pytest.param("width", float("nan"), id="width-nan"),
            pytest.param("width", "wide", id="width-text"),
            pytest.param("num_classes", -1, id="classes"),
            pytest.param("in_chans", 0, id="channels"),
            pytest.param("drop_rate", 1.0, id="dropout"),
            pytest.param("drop_path_rate", -0.1, id="drop-path"),
            pytest.param("stem_stride", 4, id="stem-stride"),
            pytest.param("gate_upsample", "bicubic", id="upsampling"),
            pytest.param("global_pool", "catavgmax", id="pooling"),
        ],
    )
    def test_a_value_that_is_not_allowed_is_named(self, option: str, value: object) -> None:
        with pytest.raises(UsageError, match=rf"^{option}={value!r}: must be ") as caught:
            GhostNet(**{option: value})
        assert "\n" not in str(caught.value)


class TestTools:
    @pytest.mark.usefixtures("_three_blocks")
    def test_compiles_as_one_graph(self) -> None:
        model, images = small("ghostnetv3").eval(), torch.randn(2, 3, 33, 40)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            torch.testing.assert_close(compiled(images), model(images), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("name", VERSIONS)
    def test_channels_last_gives_the_same(self, name: str, networks: dict[str, nn.Module]) -> None:
        images = torch.randn(2, 3, 33, 40)
        model = copy.deepcopy(networks[name]).to(memory_format=torch.channels_last)
        with torch.no_grad():
            logits = model(images.to(memory_format=torch.channels_last))
            torch.testing.assert_close(logits, networks[name](images), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("name", VERSIONS)
    def test_trains_under_bf16_autocast(self, name: str) -> None:
        model = small(name, depth=0.1).train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(torch.randn(4, 3, 32, 32))
        assert logits.dtype == torch.bfloat16
        logits.float().square().mean().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize("name", VERSIONS)
    def test_checkpointing_gives_the_same_gradients(self, name: str) -> None:
        model, images = (
            small(name, depth=0.1, drop_rate=0.3, drop_path_rate=0.3).double().train(),
            torch.randn(4, 3, 32, 32),
        )

        def gradients() -> list[Tensor]:
            torch.manual_seed(1)
            model.zero_grad()
            model(images.double()).square().sum().backward()
            return [p.grad.clone() for p in model.parameters()]

        plain = gradients()
        model.set_grad_checkpointing()
        stored: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (stored.append(t), t)[1], lambda t: t):
            torch.testing.assert_close(gradients(), plain)
        assert len(stored) < 100

    @pytest.mark.skipif(
        torch.__version__ < "2.12", reason="torch 2.11 demands sizes that every stride divides in a dynamic export"
    )
    @pytest.mark.usefixtures("_three_blocks")
    def test_is_exported_with_any_size(self) -> None:
        model = small().eval()
        size = {2: torch.export.Dim("height", min=97, max=512), 3: torch.export.Dim("width", min=97, max=512)}
        program = torch.export.export(model, (torch.randn(1, 3, 128, 160),), dynamic_shapes=(size,))
        images = torch.randn(1, 3, 131, 97)
        torch.testing.assert_close(program.module()(images), model(images), atol=1e-5, rtol=1e-4)
