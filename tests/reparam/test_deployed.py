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
from tests.reparam.nets import norms, scatter

MODELS = [
    param("ghostnetv2", {"width": 0.2}, id="ghostnetv2"),
    param("ghostnetv3", {"width": 0.2}, id="ghostnetv3"),
    param("ghostnetv2", {"width": 0.2, "stem_stride": 1, "in_chans": 1}, id="another stem"),
    param("mobilenetv3_small_050", {}, id="mobilenetv3"),
    param("test_efficientnet", {}, id="norms with activations"),
    param("ghostnetv3_050", {}, id="ghostnetv3 of timm"),
    param("repvgg_a0", {}, id="repvgg"),
    param("repghostnet_050", {}, id="repghost"),
    param("repvit_m0_9", {}, id="repvit"),
    param("fastvit_t8", {}, id="fastvit"),
]


def images_for(options: dict) -> Tensor:
    return torch.randn(2, options.get("in_chans", 3), 64, 64)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_the_deployed_layout_is_that_of_fusing(name: str, options: dict) -> None:
    model, images = scatter(ghostlab.create_model(name, 5, **options)), images_for(options)
    fused, _ = ghostlab.fuse(model, images)
    new = ghostlab.create_model(name, 5, layout="deployed", **options)
    assert norms(new) == 0 and new.training
    assert all(parameter.requires_grad for parameter in new.parameters())
    new.load_state_dict(fused.state_dict(), strict=True)
    taught = ghostlab.load_weights(ghostlab.create_model(name, 5, **options), fused.state_dict())
    with torch.no_grad():
        expected = fused(images)
        torch.testing.assert_close(new.eval()(images), expected, rtol=0, atol=0)
        torch.testing.assert_close(taught.eval()(images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["repghostnet_050", "repvgg_a0"])
def test_grown_blocks_take_weights_and_give_them(name: str) -> None:
    images = torch.randn(2, 3, 64, 64)
    model = scatter(ghostlab.reparameterize(ghostlab.create_model(name, 5), 2, example_input=images)).eval()
    taught = ghostlab.load_weights(ghostlab.create_model(name, 5), model.state_dict()).eval()
    torch.testing.assert_close(taught(images), model(images))
    fused, _ = ghostlab.fuse(model, images)
    for layout in ("training", "deployed"):
        other = ghostlab.load_weights(ghostlab.create_model(name, 5, layout=layout), fused.state_dict()).eval()
        torch.testing.assert_close(other(images), fused(images), rtol=0, atol=0)
    ghostlab.load_weights(model, fused.state_dict()).eval()
    torch.testing.assert_close(model(images), fused(images), rtol=0, atol=0)


def test_a_deployed_model_takes_the_weights_of_training_where_its_parts_are_known() -> None:
    source = scatter(ghostlab.create_model("ghostnetv3", 5, width=0.35)).eval()
    model = ghostlab.create_model("ghostnetv3", 5, width=0.35, layout="deployed")
    images = torch.randn(2, 3, 64, 64)
    ghostlab.load_weights(model, source.state_dict()).eval()
    torch.testing.assert_close(model(images), source(images))


def test_a_block_that_has_collapsed_cannot_take_its_branches_back() -> None:
    state = ghostlab.create_model("repvgg_a0", 5).state_dict()
    model = ghostlab.create_model("repvgg_a0", 5, layout="deployed")
    with pytest.raises(RunError, match=r"do not fit: 44 missing \(stem\.reparam_conv\.weight, .*unexpected"):
        ghostlab.load_weights(model, state)


def test_the_head_of_a_fused_repvit_follows_the_classes(caplog: pytest.LogCaptureFixture) -> None:
    source = scatter(ghostlab.create_model("repvit_m0_9", 5))
    fused, _ = ghostlab.fuse(source, torch.zeros(1, 3, 64, 64))
    model = ghostlab.load_weights(ghostlab.create_model("repvit_m0_9", 7), fused.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval().forward_features(images), fused.forward_features(images))
    assert model(images).shape == (2, 7)
    assert "'head' is initialised again" in caplog.text


def test_a_deployed_model_learns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = ghostlab.create_model("ghostnetv3", 4, width=0.2, layout="deployed")
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
