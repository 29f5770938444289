from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

import ghostlab
from ghostlab.errors import RunError, UsageError
from ghostlab.models.factory import PUBLISHED


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("ghostnetv1", "GhostNet", id="own"),
        pytest.param("mobilenetv2", "EfficientNet", id="alias"),
        pytest.param("resnet18", "ResNet", id="timm"),
        pytest.param("resnet18.a1_in1k", "ResNet", id="timm-with-tag"),
    ],
)
def test_a_model_by_name(name: str, kind: str) -> None:
    with torch.device("meta"):
        model = ghostlab.create_model(name, num_classes=10, in_chans=1, drop_rate=0.3)
    assert type(model).__name__ == kind
    assert model.get_classifier().out_features == 10
    assert next(m for m in model.modules() if isinstance(m, nn.Conv2d)).in_channels == 1
    assert model.drop_rate == 0.3


def test_options_that_are_none_are_not_given() -> None:
    with torch.device("meta"):
        assert ghostlab.create_model("ghostnetv2", width=None, drop_rate=None).drop_rate == 0.2
        ghostlab.create_model("vgg11", drop_path_rate=None)  # it has no such option


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            pytest.param("ghostnetv4", {}, "no model 'ghostnetv4'; did you mean 'ghostnetv", id="own-name"),
            pytest.param("resnet_50", {}, "no model 'resnet_50'; did you mean 'resnet50'?", id="timm-name"),
            pytest.param(
                "qqq", {}, "no model 'qqq'; available: ghostnetv1, ghostnetv2, ghostnetv3 and", id="nothing-near"
            ),
            pytest.param("resnet18.nope", {}, "model 'resnet18.nope': Invalid pretrained tag", id="tag"),
            pytest.param("ghostnetv2", {"widht": 1}, "takes no option 'widht'; did you mean 'width'?", id="misspelt"),
            pytest.param(
                "ghostnetv1",
                {"gate_upsample": "bilinear"},
                "'ghostnetv1' takes no option 'gate_upsample'",
                id="no-gate",
            ),
            pytest.param("ghostnetv2", {"attention": False}, "takes no option 'attention'", id="fixed-by-the-name"),
            pytest.param("resnet18", {"wide": 0.5}, "model 'resnet18' takes no option 'wide'", id="timm-option"),
            pytest.param("vgg11", {"width": 0.5}, "width=0.5: model 'vgg11' cannot be scaled; allowed: ", id="width"),
            pytest.param("mobilenetv3", {"depth": 2}, "depth=2: model 'mobilenetv3' cannot be scaled", id="depth"),
            pytest.param("resnet18", {"depth": -1}, "depth=-1: must be above 0", id="timm-depth"),
            pytest.param("ghostnetv3", {"width": 0}, "width=0: must be above 0", id="value"),
            pytest.param("resnet18", {"drop_rate": 2}, "drop_rate=2: must be in [0, 1)", id="timm-value"),
            pytest.param("efficientnet_b0", {"bn_momentum": 2}, "bn_momentum=2: must be in (0, 1]", id="bn-momentum"),
            pytest.param("efficientnet_b0", {"bn_eps": 0}, "bn_eps=0: must be above 0", id="bn-eps"),
            pytest.param("resnet18", {"num_classes": -1}, "num_classes=-1: must be 0 or more", id="classes"),
            pytest.param("resnet18", {"stem_stride": 3}, "stem_stride=3: must be 1 or 2", id="stem-stride"),
            pytest.param("vit_tiny_patch16_224", {"stem_stride": 1}, "stem_stride=1: model 'vit_tiny", id="no-stem"),
            pytest.param("vgg11", {"stem_stride": 1}, "stem_stride=1: model 'vgg11' does not begin", id="unit-stem"),
            pytest.param(
                "ghostnetv1", {"pretrained": True, "width": 0.5}, "published for width 1.0, not", id="no-weights"
            ),
            pytest.param(
                "ghostnetv1", {"pretrained": True, "depth": 2}, "no weights of ghostnetv1 for depth 2", id="deep"
            ),
            pytest.param(
                "resnet18", {"pretrained": True, "width": 2}, "no weights of 'resnet18' for width 2", id="wide"
            ),
            pytest.param(
                "efficientnet_b8", {"pretrained": True}, "no weights for model 'efficientnet_b8'", id="none-in-timm"
            ),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, name: str, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError) as caught, torch.device("meta"):
            ghostlab.create_model(name, **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


FAMILIES = {module: min(timm.list_models(module=module), key=len) for module in timm.list_modules()}
"""A model of each of timm's files, those of this package among them."""


class TestOptionsOfEveryFamily:
    """An option or a value that a network does not know is one line, whichever family it is of."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_an_unknown_option(self, family: str) -> None:
        with pytest.raises(UsageError, match=r"^model '.*' takes no option 'wibble'") as caught, torch.device("meta"):
            ghostlab.create_model(FAMILIES[family], wibble=1)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnetv2_s", "mobilenetv1", "resnet18", "ghostnetv3"])
    def test_an_unknown_option_of_a_scaled_one(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"^model '{name}' takes no option 'wibble'"), torch.device("meta"):
            ghostlab.create_model(name, width=0.5, wibble=1)

    @pytest.mark.parametrize(
        ("name", "option", "value"),
        [
            ("resnet18", "global_pool", "fooled"),
            ("resnet18", "act_layer", "fooled"),
            ("resnet18", "norm_layer", "fooled"),
            ("resnet18", "block_args", 3),
            ("resnet18", "output_stride", 7),
            ("efficientnet_b0", "global_pool", "fooled"),
            ("efficientnet_b0", "act_layer", "fooled"),
            ("efficientnet_b4_fused3", "act_layer", "fooled"),
            ("test_vit", "img_size", "large"),
            ("test_vit", "patch_size", 0),
            ("test_convnext", "dims", "wide"),
            ("ghostnetv2", "dtype", "float65"),
            ("ghostnetv2", "device", "mainframe"),
            ("resnet18", "checkpoint_path", "there/is/none.pth"),
        ],
    )
    def test_a_value_that_it_cannot_be_built_with(self, name: str, option: str, value: object) -> None:
        with pytest.raises(UsageError, match=f"^model '{name}' cannot be built with {option}={value}: .") as caught:
            ghostlab.create_model(name, **{option: value})
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None

    def test_an_unknown_option_is_no_failure_to_fetch_weights(self) -> None:
        with pytest.raises(UsageError, match="model 'resnet18' takes no option 'wibble'"):
            ghostlab.create_model("resnet18", pretrained=True, wibble=1)


class TestStemStride:
    @pytest.mark.parametrize(
        "name", [pytest.param(name, id=name) for name in ("resnet18", "efficientnet_b0", "mobilenetv3", "resnet18d")]
    )
    def test_one_doubles_the_maps(self, name: str) -> None:
        images = torch.empty(1, 3, 64, 64, device="meta")
        with torch.device("meta"):
            usual, fine = (ghostlab.create_model(name, stem_stride=stride).eval() for stride in (2, 1))
        assert usual.forward_features(images).shape[-1] == 2
        assert fine.forward_features(images).shape[-1] == 4
        reductions = [level["reduction"] for level in usual.feature_info]
        assert [2 * level["reduction"] for level in fine.feature_info] == reductions


class TestPretrained:
    @pytest.fixture
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    @pytest.mark.usefixtures("offline")
    @pytest.mark.parametrize("name", [pytest.param("mobilenetv2", id="timm"), pytest.param("ghostnetv2", id="own")])
    def test_without_a_network_it_is_one_line(self, name: str) -> None:
        with pytest.raises(RunError, match="cannot fetch the pretrained weights of") as caught:
            ghostlab.create_model(name, pretrained=True)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize(("published", "theirs"), PUBLISHED.items(), ids=PUBLISHED.values())
    def test_published_weights_are_those_of_the_width(self, published: tuple[str, float], theirs: str) -> None:
        name, width = published
        assert timm.models.is_model_pretrained(theirs)
        with torch.device("meta"):
            wanted = timm.create_model(theirs).conv_head.in_channels
            assert ghostlab.create_model(name, width=width, depth=0.1).conv_head.in_channels == wanted

    def test_own_models_get_the_authors_weights_through_timm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        published = timm.create_model("ghostnetv3_100").eval()
        real = timm.create_model

        def offered(name: str, **options: Any) -> nn.Module:
            if options.pop("pretrained", False):
                assert name == "ghostnetv3_100"
                return published
            return real(name, **options)

        monkeypatch.setattr(timm, "create_model", offered)
        model = ghostlab.create_model("ghostnetv3", pretrained=True, num_classes=5).eval()
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(
                model.forward_features(images), published.forward_features(images), atol=1e-5, rtol=1e-4
            )
        assert model(images).shape == (1, 5)
