"""A model that is built as it is deployed takes the weights of a fused one, and so does one in the training layout."""

from __future__ import annotations

import logging

import pytest
import torch
from pytest import param
from torch import Tensor, nn

import ghostlab
from ghostlab.errors import RunError, UsageError
from ghostlab.models import factory
from ghostlab.reparam import deployed
from tests.reparam.families import BRANCHED, Build, repvit
from tests.reparam.nets import norms, scatter

SMALL = {"width": 0.2, "depth": 0.1}
MODELS = [
    param("ghostnetv2", SMALL, id="ghostnetv2"),
    param("ghostnetv3", SMALL, id="ghostnetv3"),
    param("ghostnetv2", {**SMALL, "stem_stride": 1, "in_chans": 1}, id="another stem"),
    param("test_efficientnet", {}, id="norms with activations"),
]


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_the_deployed_layout_is_that_of_fusing(name: str, options: dict) -> None:
    images = torch.randn(2, options.get("in_chans", 3), 64, 64)
    model = scatter(ghostlab.create_model(name, 5, **options))
    new = ghostlab.create_model(name, 5, layout="deployed", **options)
    assert_layout_is_that_of_fusing(new, model, ghostlab.create_model(name, 5, **options), images)


@pytest.mark.parametrize("build", [param(build, id=name) for name, build in BRANCHED.items()])
def test_the_deployed_layout_of_blocks_with_branches_is_that_of_fusing(build: Build) -> None:
    assert_layout_is_that_of_fusing(deployed(build()), scatter(build()), build(), torch.randn(2, 3, 32, 32))


def assert_layout_is_that_of_fusing(new: nn.Module, model: nn.Module, other: nn.Module, images: Tensor) -> None:
    """``new`` and ``other``, in the layout of training, take the weights of ``model`` once that is fused."""
    fused, _ = ghostlab.fuse(model, images)
    assert norms(new) == 0 and new.training
    assert all(parameter.requires_grad for parameter in new.parameters())
    new.load_state_dict(fused.state_dict(), strict=True)
    taught = ghostlab.load_weights(other, fused.state_dict())
    with torch.no_grad():
        expected = fused(images)
        torch.testing.assert_close(new.eval()(images), expected, rtol=0, atol=0)
        torch.testing.assert_close(taught.eval()(images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["repghost", "repvgg"])
def test_grown_blocks_take_weights_and_give_them(family: str) -> None:
    build, images = BRANCHED[family], torch.randn(2, 3, 32, 32)
    model = scatter(ghostlab.reparameterize(build(), 2, example_input=images)).eval()
    taught = ghostlab.load_weights(build(), model.state_dict()).eval()
    torch.testing.assert_close(taught(images), model(images))
    fused, _ = ghostlab.fuse(model, images)
    for other in (build(), deployed(build())):
        ghostlab.load_weights(other, fused.state_dict()).eval()
        torch.testing.assert_close(other(images), fused(images), rtol=0, atol=0)
    ghostlab.load_weights(model, fused.state_dict()).eval()
    torch.testing.assert_close(model(images), fused(images), rtol=0, atol=0)


def test_a_deployed_model_takes_the_weights_of_training_where_its_parts_are_known() -> None:
    source = scatter(ghostlab.create_model("ghostnetv3", 5, width=0.35, depth=0.1)).eval()
    model = ghostlab.create_model("ghostnetv3", 5, width=0.35, depth=0.1, layout="deployed")
    images = torch.randn(2, 3, 64, 64)
    ghostlab.load_weights(model, source.state_dict()).eval()
    torch.testing.assert_close(model(images), source(images))


def test_a_block_that_has_collapsed_cannot_take_its_branches_back() -> None:
    state = BRANCHED["repvgg"]().state_dict()
    with pytest.raises(RunError, match=r"do not fit: 8 missing \(stem\.reparam_conv\.weight, .*unexpected"):
        ghostlab.load_weights(deployed(BRANCHED["repvgg"]()), state)


def test_the_head_of_a_fused_repvit_follows_the_classes(caplog: pytest.LogCaptureFixture) -> None:
    fused, _ = ghostlab.fuse(scatter(repvit()), torch.zeros(1, 3, 64, 64))
    model = ghostlab.load_weights(repvit(classes=7), fused.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval().forward_features(images), fused.forward_features(images))
    assert model(images).shape == (2, 7)
    assert "'head' is initialised again" in caplog.text


def test_a_deployed_model_learns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = ghostlab.create_model("ghostnetv3", 4, **SMALL, layout="deployed")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    nn.functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.arange(4)).backward()
    optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert caplog.records == []


def test_pretrained_weights_are_fused_with_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = scatter(ghostlab.create_model("mobilenetv3_small_050", 5)).eval()
    monkeypatch.setattr(factory, "_fetch", lambda name, options: trained)
    model = ghostlab.create_model("mobilenetv3_small_050", 5, pretrained=True, layout="deployed")
    images = torch.randn(2, 3, 64, 64)
    assert norms(model) == 0
    torch.testing.assert_close(model(images), trained(images), rtol=1e-4, atol=1e-4)


def test_an_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"layout=deploy: no layout 'deploy'; did you mean 'deployed'\?"):
        ghostlab.create_model("ghostnetv1", layout="deploy")


def test_a_model_with_nothing_to_fold_has_no_deployed_layout() -> None:
    with pytest.raises(RunError, match="nothing to fold: VisionTransformer has no branches"):
        ghostlab.create_model("vit_tiny_patch16_224", layout="deployed")
