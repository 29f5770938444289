from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

import ghostlab
from ghostlab.errors import RunError, UsageError
from ghostlab.models.weights import from_official

Randomise = Callable[[nn.Module], nn.Module]
IMAGES = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))


def small(name: str, **options: Any) -> nn.Module:
    return ghostlab.create_model(name, **{"num_classes": 10, "width": 0.5, "depth": 0.1, **options})


@pytest.fixture(scope="module")
def v3(randomised: Randomise) -> nn.Module:
    torch.manual_seed(0)
    return randomised(small("ghostnetv3")).eval()


@pytest.fixture(scope="module")
def fused(v3: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the weights of ``v3``, fused."""
    path = tmp_path_factory.mktemp("weights") / "fused.safetensors"
    safetensors.torch.save_file(ghostlab.fuse(v3, IMAGES)[0].state_dict(), path)
    return path


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(IMAGES)


def assert_same_logits(first: nn.Module, second: nn.Module) -> None:
    torch.testing.assert_close(logits(first), logits(second), atol=1e-5, rtol=1e-4)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def assert_untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


class TestLayouts:
    """The layout follows the weights: whatever the model had before, it then computes what they computed."""

    @pytest.mark.parametrize("target", [pytest.param(f"ghostnetv{v}", id=f"into-v{v}") for v in (2, 3)])
    def test_with_branches(self, v3: nn.Module, target: str) -> None:
        assert_same_logits(ghostlab.load_weights(small(target), v3.state_dict()), v3)

    @pytest.mark.parametrize("target", [pytest.param(f"ghostnetv{v}", id=f"into-v{v}") for v in (2, 3)])
    def test_fused_in_a_file(self, v3: nn.Module, target: str, fused: Path) -> None:
        model = ghostlab.load_weights(small(target), fused)
        assert_same_logits(model, v3)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())

    def test_plain_into_v3(self, randomised: Randomise) -> None:
        plain = randomised(small("ghostnetv2"))
        model = ghostlab.load_weights(small("ghostnetv3"), plain.state_dict())
        assert_same_logits(model, plain)
        assert list(model.state_dict()) == list(plain.state_dict())

    def test_deployed_by_timm(self, randomised: Randomise) -> None:
        theirs = timm.utils.model.reparameterize_model(randomised(timm.create_model("ghostnetv3_050", num_classes=10)))
        assert "blocks.0.0.ghost1.primary_conv.0.bias" in theirs.state_dict()
        for target in ("ghostnetv2", "ghostnetv3"):
            assert_same_logits(ghostlab.load_weights(small(target, depth=1), theirs.state_dict()), theirs)

    def test_another_number_of_branches(self, randomised: Randomise) -> None:
        grown = randomised(ghostlab.reparameterize(small("ghostnetv2"), branches=2))
        assert_same_logits(ghostlab.load_weights(small("ghostnetv3"), grown.state_dict()), grown)

    def test_the_loaded_branches_can_be_trained(self, v3: nn.Module) -> None:
        model = ghostlab.load_weights(small("ghostnetv2"), v3.state_dict()).train()
        model(IMAGES).sum().backward()
        assert all(p.requires_grad and p.grad is not None for p in model.parameters())


class TestFormats:
    def test_a_lightning_checkpoint_with_averaged_weights(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, randomised: Randomise
    ) -> None:
        raw, averaged = small("ghostnetv1"), randomised(small("ghostnetv1"))
        prefixed = {f"model.{key}": tensor for key, tensor in raw.state_dict().items()}
        torch.save({"state_dict": prefixed, "state_dict_ema": averaged.state_dict()}, tmp_path / "last.ckpt")
        assert_same_logits(ghostlab.load_weights(small("ghostnetv1"), tmp_path / "last.ckpt"), averaged)
        assert "averaged weights" in caplog.text

    def test_v3_as_the_authors_save_it(self, tmp_path: Path, randomised: Randomise) -> None:
        """One module a branch, batch norms named ``bn``, DDP's prefix, a profiler's counters."""
        theirs = randomised(timm.create_model("ghostnetv3_050"))
        official = {
            f"module.{key.replace('.bn1.', '.bn.') if '_rpr_' in key else key}": tensor
            for key, tensor in theirs.state_dict().items()
        }
        assert "module.blocks.1.0.dw_rpr_conv.2.bn.running_var" in official
        official["module.blocks.0.0.total_ops"] = torch.zeros(1)
        torch.save({"state_dict": official, "arch": "ghostnetv3"}, tmp_path / "ghostnetv3.pth.tar")
        model = ghostlab.load_weights(small("ghostnetv3", num_classes=1000, depth=1), tmp_path / "ghostnetv3.pth.tar")
        assert_same_logits(model, theirs)

    def test_branches_are_stacked_in_their_order(self) -> None:
        parts = {f"x.primary_rpr_conv.{i}.conv.weight": torch.full((1, 2, 1, 1), float(i)) for i in (1, 0, 2)}
        [(key, stacked)] = from_official(parts).items()
        assert key == "x.primary_conv.0.conv.weight"
        assert stacked[:, 0, 0, 0].tolist() == [0, 1, 2]

    def test_the_contents_of_a_checkpoint(self, randomised: Randomise) -> None:
        source = randomised(small("ghostnetv1"))
        contents = {"epoch": 3, "state_dict": small("ghostnetv1").state_dict(), "state_dict_ema": source.state_dict()}
        assert_same_logits(ghostlab.load_weights(small("ghostnetv1"), contents), source)

    def test_half_precision_keeps_the_models_dtype(self) -> None:
        source = small("ghostnetv1")
        halves = {key: t.half() if t.is_floating_point() else t for key, t in source.state_dict().items()}
        model = ghostlab.load_weights(small("ghostnetv1"), halves)
        assert model.conv_stem.weight.dtype == torch.float32
        torch.testing.assert_close(model.conv_stem.weight, source.conv_stem.weight, atol=1e-3, rtol=1e-3)

    def test_checkpoints_older_than_batch_counters(self, randomised: Randomise) -> None:
        source = randomised(small("ghostnetv1"))
        old = {key: t for key, t in source.state_dict().items() if not key.endswith("num_batches_tracked")}
        assert_same_logits(ghostlab.load_weights(small("ghostnetv1"), old), source)

    def test_models_of_timm(self, randomised: Randomise) -> None:
        source = randomised(timm.create_model("mobilenetv2_050", num_classes=10))
        fused, _ = ghostlab.fuse(source, IMAGES)
        target = ghostlab.create_model("mobilenetv2_050", num_classes=10)
        assert_same_logits(ghostlab.load_weights(target, fused.state_dict()), source)


class TestOtherClasses:
    @pytest.mark.parametrize("name", [pytest.param("ghostnetv2", id="own"), pytest.param("test_resnet", id="timm")])
    def test_the_head_starts_again_and_that_is_said(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        options = {"width": 0.5, "depth": 0.1} if name == "ghostnetv2" else {}
        source = ghostlab.create_model(name, num_classes=20, **options)
        model = ghostlab.create_model(name, num_classes=10, **options)
        nn.init.zeros_(model.get_classifier().weight)
        assert ghostlab.load_weights(model, source.state_dict()) is model
        assert model.get_classifier().weight.shape[0] == 10
        assert model.get_classifier().weight.std() > 0
        torch.testing.assert_close(model.eval().forward_features(IMAGES), source.eval().forward_features(IMAGES))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "initialised again" in record.getMessage()

    def test_a_model_without_classes_drops_the_head(self) -> None:
        source, model = small("ghostnetv1"), small("ghostnetv1", num_classes=0)
        ghostlab.load_weights(model, source.state_dict())
        torch.testing.assert_close(
            model.eval()(IMAGES), source.eval().forward_head(source.forward_features(IMAGES), pre_logits=True)
        )


class TestRefusals:
    """One line that lists the keys; the model keeps its layout and its values."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            pytest.param(lambda w: w.pop("conv_head.bias"), "1 missing (conv_head.bias)", id="missing"),
            pytest.param(
                lambda w: w.update({f"extra.{i}": torch.ones(1) for i in range(5)}),
                "5 unexpected (extra.0, extra.1, extra.2, ...)",
                id="unexpected",
            ),
            pytest.param(
                lambda w: w.update({"conv_stem.weight": torch.ones(8, 4, 3, 3)}),
                "1 of another shape (conv_stem.weight (8, 4, 3, 3) for (8, 3, 3, 3))",
                id="shape",
            ),
            pytest.param(lambda w: w.pop("classifier.weight"), "1 missing (classifier.weight)", id="half-a-head"),
            pytest.param(
                lambda w: w.pop("blocks.3.0.ghost2.cheap_operation.0.conv.weight", w.pop("bn1.bias")),
                "missing (",
                id="part-of-a-site",
            ),
        ],
    )
    def test_keys_that_do_not_fit_are_listed(
        self, v3: nn.Module, change: Callable[[dict[str, Tensor]], object], message: str
    ) -> None:
        weights = dict(v3.state_dict())
        change(weights)
        model = small("ghostnetv2")  # which would have to change its layout
        before = snapshot(model)
        with pytest.raises(RunError, match="weights from the state dict do not fit: ") as caught:
            ghostlab.load_weights(model, weights)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert_untouched(model, before)

    @pytest.mark.parametrize(
        "source",
        [
            pytest.param(lambda: small("ghostnetv3", width=1.0), id="other-width"),
            pytest.param(lambda: small("ghostnetv1"), id="v1-into-v2"),
            pytest.param(lambda: timm.create_model("test_resnet"), id="other-network"),
            pytest.param(lambda: small("ghostnetv2", in_chans=1), id="other-input"),
        ],
    )
    def test_weights_of_another_network_are_refused(self, source: Callable[[], nn.Module], tmp_path: Path) -> None:
        torch.save(source().state_dict(), tmp_path / "other.pth")
        model = small("ghostnetv2")
        before = snapshot(model)
        with pytest.raises(RunError, match=r"weights from '.*other.pth' do not fit: \d+ ") as caught:
            ghostlab.load_weights(model, tmp_path / "other.pth")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert_untouched(model, before)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no weights file"):
            ghostlab.load_weights(small("ghostnetv1"), tmp_path / "none.pth")
