"""What timm asks of every model, of those that this package adds to its registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import torch
from timm.layers import set_reentrant_ckpt, set_scriptable
from timm.models import FeatureInfo, get_notrace_functions, get_notrace_modules, get_pretrained_cfg
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import ghostlab.models
from ghostlab.errors import UsageError

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"v{v}": (f"ghostlab_ghostnetv{v}", {"width": 0.25, "depth": 0.1}) for v in (1, 2, 3)},
    "v2-fine": ("ghostlab_network", {"base": "ghostnetv2", "width": 0.25, "depth": 0.1, "stem_stride": 1}),
    "mobilenetv1": ("ghostlab_network", {"base": "mobilenetv1", "width": 0.25}),
    "efficientnet": ("ghostlab_network", {"base": "efficientnet_b3", "width": 0.25, "depth": 0.1}),
    "fused-b4": ("ghostlab_efficientnet_b4_fused5", {"channel_multiplier": 0.25, "depth_multiplier": 0.1}),
    "resnet": ("ghostlab_network", {"base": "resnet18", "width": 0.25, "stem_stride": 1}),
}
GHOSTNETS = ("v1", "v2", "v3", "v2-fine")
LARGE = ["ghostlab_ghostnetv1", "ghostlab_ghostnetv2", *(f"ghostlab_efficientnet_b4_fused{i}" for i in (3, 5, 7))]
IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))

every = pytest.mark.parametrize("name", SMALL)
ghostnets = pytest.mark.parametrize("name", GHOSTNETS)


def build(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    network, own = SMALL[name]
    return timm.create_model(network, **{"num_classes": 7, **own, **options})


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """One of each in evaluation mode; tests leave them as they are."""
    return {name: build(name).eval() for name in SMALL}


def levels(model: nn.Module) -> FeatureInfo:
    return FeatureInfo(model.feature_info, len(model.feature_info))


def sizes(maps: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in maps]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestConfiguration:
    """``default_cfg`` and the attributes of a model say what it is."""

    @pytest.mark.parametrize(
        ("network", "options"),
        [
            *[pytest.param(name, {}, id=name) for name in LARGE],
            *[pytest.param(*value, id=name) for name, value in SMALL.items()],
        ],
    )
    def test_maps_and_heads_are_of_the_sizes_that_are_stated(self, network: str, options: dict[str, Any]) -> None:
        with torch.device("meta"):
            model = timm.create_model(network, **options).eval()
            images = torch.empty(1, *model.default_cfg["input_size"])
        maps = model.forward_features(images)
        assert tuple(maps.shape[1:]) == (model.num_features, *model.default_cfg["pool_size"])
        assert model.forward_head(maps, pre_logits=True).shape == (1, model.head_hidden_size)
        assert model.forward_head(maps).shape == model(images).shape == (1, 1000)

    @ghostnets
    def test_a_map_that_does_not_divide_is_rounded_up(self, name: str) -> None:
        model = build(name, pretrained_cfg_overlay={"input_size": (3, 70, 100)}).eval()
        sides = tuple(model.forward_features(torch.zeros(1, 3, 70, 100)).shape[2:])
        assert model.default_cfg["pool_size"] == sides == ((5, 7) if name == "v2-fine" else (3, 4))

    @every
    def test_first_and_last_layer_are_named(self, name: str, networks: dict[str, nn.Module]) -> None:
        model = networks[name]
        cfg, weights = model.default_cfg, model.state_dict()
        assert weights[f"{cfg['first_conv']}.weight"].shape[1] == 3
        assert weights[f"{cfg['classifier']}.weight"].shape == (7, model.head_hidden_size)
        assert model.get_classifier() is model.get_submodule(cfg["classifier"])

    @every
    def test_the_configuration_is_that_of_the_registry(self, name: str, networks: dict[str, nn.Module]) -> None:
        cfg, known = networks[name].default_cfg, get_pretrained_cfg(SMALL[name][0])
        assert cfg is networks[name].pretrained_cfg
        assert cfg["architecture"] == known.architecture == SMALL[name][0]
        changed = build(name, pretrained_cfg_overlay={"input_size": (3, 48, 48)})
        assert changed.default_cfg["input_size"] == (3, 48, 48)

    def test_images_are_prepared_as_for_the_published_weights(self, networks: dict[str, nn.Module]) -> None:
        for name in ("v1", "v2", "v3"):
            data = timm.data.resolve_model_data_config(networks[name])
            assert data["input_size"] == (3, 224, 224)
            assert (data["interpolation"], data["crop_pct"]) == ("bicubic", 0.875)
            assert data["mean"] == pytest.approx((0.485, 0.456, 0.406))
            assert data["std"] == pytest.approx((0.229, 0.224, 0.225))


class TestOptions:
    @every
    def test_channels_of_the_images(self, name: str) -> None:
        assert build(name, in_chans=1).eval()(IMAGES[:, :1]).shape == (2, 7)

    @every
    @pytest.mark.parametrize("pool", ["max", "avgmax"])
    def test_pooling(self, name: str, pool: str, networks: dict[str, nn.Module]) -> None:
        model = build(name, global_pool=pool).eval()
        model.load_state_dict(networks[name].state_dict())
        maps = model.forward_features(IMAGES)
        pooled = maps.amax((2, 3), keepdim=True)
        if pool == "avgmax":
            pooled = (pooled + maps.mean((2, 3), keepdim=True)) / 2
        torch.testing.assert_close(model.forward_head(maps), networks[name].forward_head(pooled))

    @every
    def test_dropout_of_the_head_is_the_attribute(self, name: str) -> None:
        model = build(name, drop_rate=0.5)
        assert model.drop_rate == 0.5
        maps = torch.rand(2, model.num_features, 1, 1)
        model.drop_rate = 0.0
        assert torch.equal(model.train().forward_head(maps), model.eval().forward_head(maps))

    @pytest.mark.parametrize("name", ["mobilenetv1", "efficientnet", "fused-b4", "resnet"])
    def test_output_stride_is_that_of_timm(self, name: str) -> None:
        with torch.device("meta"):
            maps = build(name, output_stride=16).forward_features(torch.empty(1, 3, 64, 64))
        assert maps.shape[-1] == (4 if name != "resnet" else 8)

    @ghostnets
    def test_a_ghostnet_takes_no_output_stride(self, name: str) -> None:
        with pytest.raises((TypeError, UsageError), match="output_stride"):
            build(name, output_stride=16)

    @ghostnets
    def test_where_and_in_which_precision_it_is_made(self, name: str) -> None:
        weight = build(name, device="meta", dtype=torch.float64).conv_stem.weight
        assert (weight.device.type, weight.dtype) == ("meta", torch.float64)


class TestHead:
    @every
    def test_no_classifier(self, name: str, networks: dict[str, nn.Module]) -> None:
        hidden = networks[name].forward_head(networks[name].forward_features(IMAGES), pre_logits=True)
        torch.testing.assert_close(networks[name].get_classifier()(hidden), networks[name](IMAGES))
        model = build(name).eval()
        model.reset_classifier(0)
        assert model.num_classes == 0
        assert torch.equal(model(IMAGES), hidden)
        bare = build(name, num_classes=0).eval()
        bare.load_state_dict(networks[name].state_dict(), strict=False)
        assert torch.equal(bare(IMAGES), hidden)

    @every
    def test_neither_classifier_nor_pooling(self, name: str) -> None:
        reset = build(name).eval()
        reset.reset_classifier(0, "")
        for model in (reset, build(name, num_classes=0, global_pool="").eval()):
            assert sizes([model(IMAGES)]) == [(model.head_hidden_size, *model.forward_features(IMAGES).shape[2:])]

    @every
    def test_another_number_of_classes(self, name: str) -> None:
        model = build(name).double().eval()
        model.reset_classifier(5, "max")
        assert model.num_classes == 5
        if name in GHOSTNETS:  # timm makes the new one in float32
            assert model.get_classifier().weight.dtype == torch.float64
        assert model.double()(IMAGES.double()).shape == (2, 5)

    @ghostnets
    def test_every_place_of_the_map_is_classified(self, name: str, networks: dict[str, nn.Module]) -> None:
        model = build(name).eval()
        model.reset_classifier(5, "")
        dense, linear = model(IMAGES), build(name, num_classes=5).eval()
        assert sizes([dense]) == [(5, *model.forward_features(IMAGES).shape[2:])]
        weights = {**model.state_dict(), "classifier.weight": model.classifier.weight.flatten(1)}
        linear.load_state_dict(weights)
        place = linear.forward_head(linear.forward_features(IMAGES)[:, :, :1, 1:2])
        torch.testing.assert_close(dense[:, :, 0, 1], place)
        assert build(name, num_classes=5, global_pool="").eval()(IMAGES).shape == dense.shape


class TestFeatures:
    @every
    @pytest.mark.parametrize("kind", [None, "getter"], ids=["usual", "getter"])
    def test_levels_are_as_described(self, name: str, kind: str | None) -> None:
        model = build(name, features_only=True, feature_cls=kind).eval()
        steps = [2, 4, 8, 16, 32] if name not in ("v2-fine", "resnet") else [1, 2, 4, 8, 16]
        assert model.feature_info.reduction() == steps
        shapes = [
            (channels, math.ceil(32 / step), math.ceil(48 / step))
            for channels, step in zip(model.feature_info.channels(), steps, strict=True)
        ]
        assert sizes(model(IMAGES)) == shapes

    @every
    def test_all_ways_give_the_same_maps(self, name: str, networks: dict[str, nn.Module]) -> None:
        maps = networks[name].forward_intermediates(IMAGES, intermediates_only=True)
        assert len(maps) == len(levels(networks[name]).channels())
        # timm draws the weights of an EfficientNet's feature extractor in another order
        for kind in ("getter", "list") if name in (*GHOSTNETS, "resnet") else ("getter",):
            extractor = build(name, features_only=True, feature_cls=kind, out_indices=(1, 3)).eval()
            assert same(extractor(IMAGES), [maps[1], maps[3]]), kind

    @every
    def test_the_last_output_is_that_of_forward_features(self, name: str, networks: dict[str, nn.Module]) -> None:
        last, maps = networks[name].forward_intermediates(IMAGES)
        assert torch.equal(last, networks[name].forward_features(IMAGES))
        assert sizes(maps) == sizes(networks[name].forward_intermediates(IMAGES, intermediates_only=True))

    @ghostnets
    @pytest.mark.parametrize(
        ("indices", "taken"),
        [
            pytest.param(None, [0, 1, 2, 3, 4], id="all"),
            pytest.param(2, [3, 4], id="the-last-two"),
            pytest.param([0, 2], [0, 2], id="listed"),
            pytest.param((-1, 1), [1, 4], id="from-the-end"),
        ],
    )
    def test_which_levels(self, name: str, indices: Any, taken: list[int], networks: dict[str, nn.Module]) -> None:
        model = networks[name]
        maps = model.forward_intermediates(IMAGES, intermediates_only=True)
        _, found = model.forward_intermediates(IMAGES, indices=indices)
        assert same(found, [maps[i] for i in taken])

    @ghostnets
    def test_stopping_early_computes_no_further_stage(self, name: str, networks: dict[str, nn.Module]) -> None:
        ran: list[nn.Module] = []
        hooks = [stage.register_forward_hook(lambda stage, *_: ran.append(stage)) for stage in networks[name].blocks]
        last, maps = networks[name].forward_intermediates(IMAGES, indices=[0, 2], stop_early=True)
        for hook in hooks:
            hook.remove()
        assert last is maps[1]
        assert ran[-1] is networks[name].get_submodule(networks[name].feature_info[2]["module"])

    @ghostnets
    def test_pruned_is_what_the_levels_need(self, name: str, networks: dict[str, nn.Module]) -> None:
        model = build(name).eval()
        assert model.prune_intermediate_layers([1, -2]) == [1, 3]
        assert isinstance(model.get_classifier(), nn.Identity)
        names = {key.rpartition(".")[0] for key in model.state_dict()}
        assert not any(key.startswith(model.feature_info[4]["module"]) for key in names)
        maps = networks[name].forward_intermediates(IMAGES, indices=[1, 3], intermediates_only=True)
        assert same(model.forward_intermediates(IMAGES, indices=[1, 3], intermediates_only=True), maps)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"output_fmt": "NLC"}, "output_fmt=NLC: must be NCHW", id="format"),
            pytest.param({"indices": [5]}, r"indices=\[5\]: there are 5 levels", id="level"),
            pytest.param({"indices": 6}, "indices=6: there are 5 levels", id="too-many"),
        ],
    )
    def test_what_there_is_not(self, options: dict[str, Any], message: str, networks: dict[str, nn.Module]) -> None:
        with pytest.raises(UsageError, match=message):
            networks["v2"].forward_intermediates(IMAGES, **options)

    def test_a_level_is_the_last_block_of_its_resolution(self) -> None:
        model = ghostlab.create_model("ghostnetv2", width=0.5).eval()
        stem = model.act1(model.bn1(model.conv_stem(IMAGES)))
        second, fourth = model.forward_intermediates(IMAGES, indices=[1, 3], intermediates_only=True)
        torch.testing.assert_close(second, model.blocks[:3](stem))
        torch.testing.assert_close(fourth, model.blocks[:7](stem))


class TestTraining:
    @every
    def test_every_parameter_gets_a_gradient(self, name: str) -> None:
        model = build(name, num_classes=42).train()
        logits = model(IMAGES)
        assert logits.shape == (2, 42)
        assert logits.isfinite().all()
        logits.mean().backward()
        assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]

    @every
    def test_checkpointing_changes_no_output(self, name: str, networks: dict[str, nn.Module]) -> None:
        model = build(name).eval()
        model.set_grad_checkpointing()
        torch.testing.assert_close(model(IMAGES), networks[name](IMAGES))
        last, maps = model.forward_intermediates(IMAGES)
        torch.testing.assert_close((last, maps), networks[name].forward_intermediates(IMAGES))
        model.set_grad_checkpointing(False)
        assert not _is_reentrant(model.forward_features(IMAGES))

    @ghostnets
    def test_timm_says_how_to_checkpoint(self, name: str) -> None:
        model = build(name)
        model.set_grad_checkpointing()
        assert not _is_reentrant(model.forward_features(IMAGES))
        set_reentrant_ckpt(True)
        try:
            assert _is_reentrant(model.forward_features(IMAGES))
        finally:
            set_reentrant_ckpt(False)

    @every
    @pytest.mark.parametrize("coarse", [False, True], ids=["blocks", "stages"])
    def test_layers_are_grouped_in_the_order_of_computation(
        self, name: str, coarse: bool, networks: dict[str, nn.Module]
    ) -> None:
        model = networks[name]
        groups = timm.models.group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
        assert groups.keys() == dict(model.named_parameters()).keys()
        order = [groups[key] for key, _ in model.named_parameters()]
        assert order == sorted(order)
        assert set(order) == set(range(order[-1] + 1))
        assert groups[f"{model.default_cfg['first_conv']}.weight"] == 0

    def test_a_group_is_a_block_and_the_head_follows(self) -> None:
        with torch.device("meta"):
            model = ghostlab.create_model("ghostnetv2")
        groups = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
        assert groups["blocks.0.0.ghost1.primary_conv.0.weight"] == 1
        assert groups["blocks.6.4.se.conv_reduce.bias"] == 11
        assert groups["blocks.9.0.conv.weight"] == groups["conv_head.weight"] == 17
        assert groups["classifier.weight"] == 18


def _is_reentrant(x: Tensor) -> bool:
    return type(x.grad_fn).__name__ == "CheckpointFunctionBackward"


class TestTraced:
    """``torch.fx``, by itself and as torchvision uses it for features."""

    @every
    def test_computes_the_same(self, name: str, networks: dict[str, nn.Module]) -> None:
        for traced in (torch.fx.symbolic_trace(networks[name]), _with_torchvision(networks[name])):
            output = traced(IMAGES)
            assert torch.equal(output["out"] if isinstance(output, dict) else output, networks[name](IMAGES))

    @every
    def test_trains(self, name: str) -> None:
        model = build(name).train()
        traced = _with_torchvision(model)
        logits = traced(IMAGES)["out"]
        logits.mean().backward()
        assert logits.shape == (2, 7)
        assert len(list(traced.parameters())) == len(list(model.parameters()))
        assert not [key for key, parameter in traced.named_parameters() if parameter.grad is None]


def _with_torchvision(model: nn.Module) -> nn.Module:
    tracer = {
        "leaf_modules": get_notrace_modules(),
        "autowrap_functions": get_notrace_functions(),
        "param_shapes_constant": True,
    }
    training, evaluation = get_graph_node_names(model, tracer_kwargs=tracer)
    return create_feature_extractor(
        model,
        train_return_nodes={training[-1]: "out"},
        eval_return_nodes={evaluation[-1]: "out"},
        tracer_kwargs=tracer,
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:.*TorchScript type system:UserWarning")
class TestScripted:
    """``torch.jit``, which PyTorch is giving up. GhostNet V3 with its branches is not scripted, as the docs say."""

    @pytest.fixture(autouse=True)
    def scriptable(self) -> Iterator[None]:
        with set_scriptable(True):
            yield

    @pytest.mark.parametrize(
        "changed",
        [
            pytest.param(lambda model: model, id="as-built"),
            pytest.param(torch.fx.symbolic_trace, id="traced"),
        ],
    )
    def test_computes_the_same(self, changed: Callable[[nn.Module], nn.Module]) -> None:
        model = changed(build("v2").eval())
        assert torch.equal(_scripted(model), model(IMAGES))

    def test_v3_as_it_is_deployed(self) -> None:
        model = ghostlab.create_model("ghostnetv3", layout="deployed", width=0.25, depth=0.1).eval()
        assert torch.equal(_scripted(model), model(IMAGES))


def _scripted(model: nn.Module) -> Tensor:
    with torch.jit.optimized_execution(False):
        return torch.jit.script(model)(IMAGES)
