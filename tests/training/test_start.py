"""A model that begins with the weights of an earlier run or of any checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import param
from torch import Tensor, nn

import ghostlab
from ghostlab.errors import RunError, UsageError
from ghostlab.models import create_model
from ghostlab.reparam import MultiBranchConv
from ghostlab.training.pretrained import Start, start_from
from tests.models.conftest import randomised, seeded
from tests.reparam.nets import TinyNet, scatter
from tests.runs.test_run import write_run

__all__ = ["randomised", "seeded"]

OPTIONS = {"name": "ghostnetv2", "width": 0.1, "stem_stride": 1}
CLASSES = ["a", "b", "c", "d"]
CONFIG = {"model": {**OPTIONS, "pretrained": False}, "data": {"name": "x", "num_classes": 4, "class_names": CLASSES}}
IMAGES = torch.randn(8, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def fresh(num_classes: int = 4, **options: Any) -> nn.Module:
    return create_model(**{**OPTIONS, **options}, num_classes=num_classes)


@pytest.fixture
def trained(randomised: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return randomised(fresh()).eval()


@pytest.fixture
def grown(randomised: Callable[[nn.Module], nn.Module], trained: nn.Module) -> nn.Module:
    return randomised(ghostlab.reparameterize(copy.deepcopy(trained), branches=2, example_input=IMAGES)).eval()


def begin(model: nn.Module, source: Path, class_names: list[str] | None = CLASSES, **options: Any) -> Start:
    return start_from(model, source, {**OPTIONS, **options}, class_names, lambda: IMAGES)


def features(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval().forward_features(IMAGES)


def head(model: nn.Module) -> Tensor:
    return model.get_classifier().weight.detach().clone()


def test_the_same_classes_keep_the_head(tmp_path: Path, trained: nn.Module) -> None:
    model = fresh()
    start = begin(model, write_run(tmp_path / "run", trained, config=CONFIG))
    assert start == Start(averaged=False, new_head=False, merged=0)
    assert str(start) == "with its head"
    torch.testing.assert_close(model.eval()(IMAGES), trained(IMAGES))


@pytest.mark.parametrize(
    ("classes", "names"),
    [param(7, None, id="another-number"), param(4, ["w", "x", "y", "z"], id="as-many-others")],
)
def test_other_classes_have_a_fresh_head(
    tmp_path: Path, trained: nn.Module, classes: int, names: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    model = fresh(classes)
    before = head(model)
    start = begin(model, write_run(tmp_path / "run", trained, config=CONFIG), names)
    assert start.new_head
    assert torch.equal(head(model), before)
    assert torch.equal(features(model), features(trained))
    assert not caplog.records


def test_averaged_weights_are_preferred_without_a_warning(
    tmp_path: Path, trained: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    model = fresh(7)
    start = begin(model, write_run(tmp_path / "run", fresh(), averaged=trained, config=CONFIG))
    assert str(start) == "averaged, with a new head for the new classes"
    assert torch.equal(features(model), features(trained))
    assert not caplog.records


def test_a_checkpoint_outside_of_a_run_is_a_source_too(tmp_path: Path, trained: nn.Module) -> None:
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "weights.pth")
    model = fresh()
    assert begin(model, tmp_path / "weights.pth") == Start(False, False, 0)
    assert torch.equal(model.eval()(IMAGES), trained(IMAGES))


class TestBranches:
    """The layout stays that of the model: what it trains is told by its own configuration, not by its source."""

    def test_those_of_the_source_are_merged_into_the_deployed_network(self, tmp_path: Path, grown: nn.Module) -> None:
        model = fresh()
        layout = {key: value.shape for key, value in model.state_dict().items()}
        start = begin(model, write_run(tmp_path / "run", grown, config=CONFIG))
        assert start.merged == sum(isinstance(module, MultiBranchConv) for module in grown.modules()) > 0
        assert {key: value.shape for key, value in model.state_dict().items()} == layout
        fused, _ = ghostlab.fuse(grown, IMAGES)
        torch.testing.assert_close(model.eval()(IMAGES), fused(IMAGES), rtol=1e-3, atol=1e-4)

    def test_new_ones_grow_from_there(self, tmp_path: Path, grown: nn.Module) -> None:
        model = fresh()
        begin(model, write_run(tmp_path / "run", grown, config=CONFIG))
        again = ghostlab.reparameterize(model, 3, example_input=IMAGES, init="preserve").eval()
        torch.testing.assert_close(again(IMAGES), grown(IMAGES), rtol=1e-3, atol=1e-4)

    def test_a_model_that_has_them_itself_keeps_them(
        self, tmp_path: Path, randomised: Callable[[nn.Module], nn.Module]
    ) -> None:
        v3, model = randomised(fresh(name="ghostnetv3")).eval(), fresh(name="ghostnetv3")
        assert begin(model, write_run(tmp_path / "run", v3, config=CONFIG)).merged == 0
        torch.testing.assert_close(model.eval()(IMAGES), v3(IMAGES))

    @pytest.mark.parametrize("norm", ["branches", "sum"])
    def test_a_convolution_with_a_bias_gets_none_from_them(self, tmp_path: Path, norm: str) -> None:
        model = scatter(TinyNet()).eval()
        grown = copy.deepcopy(model)
        ghostlab.reparameterize(grown, 2, include=["down.0"], example_input=IMAGES, norm=norm).eval()
        torch.save(grown.state_dict(), tmp_path / "grown.pth")
        assert start_from(model, tmp_path / "grown.pth", {}, images=lambda: IMAGES).merged == 1
        assert not model.down[0].bias.any()
        torch.testing.assert_close(model.eval()(IMAGES), grown(IMAGES), rtol=1e-4, atol=1e-5)


class TestRefusals:
    def test_a_fused_network(self, tmp_path: Path, trained: nn.Module) -> None:
        fused, _ = ghostlab.fuse(trained, IMAGES)
        torch.save(fused.state_dict(), tmp_path / "fused.pth")
        with pytest.raises(UsageError, match=r"^a fused network, without the batch norms that training needs"):
            begin(fresh(), tmp_path / "fused.pth")

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"^no such run folder or checkpoint$"):
            begin(fresh(), tmp_path / "nowhere")

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"^this folder holds no run, as it has no config\.yaml$"):
            begin(fresh(), tmp_path)

    def test_a_run_without_a_finished_epoch(self, tmp_path: Path, trained: nn.Module) -> None:
        run = write_run(tmp_path / "run", trained, config=CONFIG)
        (run / "checkpoints" / "last.ckpt").unlink()
        with pytest.raises(RunError, match=r"its first epoch is not finished"):
            begin(fresh(), run)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            param({"width": 0.2}, r"^another network, a run with model\.width=0\.1 where model\.width=0\.2 is here$"),
            param({"name": "ghostnetv1"}, r"a run with model\.name=ghostnetv2 where model\.name=ghostnetv1 is here$"),
            param({"name": "mobilenetv2"}, r"a run with model\.name=ghostnetv2 where model\.name=mobilenetv2 is here$"),
            param({"name": "ghostnetv3"}, r"^weights without the branches of this model"),
        ],
        ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
    )
    def test_another_network(self, tmp_path: Path, trained: nn.Module, options: dict[str, Any], message: str) -> None:
        model = fresh(**options)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(UsageError, match=message):
            begin(model, write_run(tmp_path / "run", trained, config=CONFIG), **options)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    def test_weights_of_another_network(self, tmp_path: Path) -> None:
        torch.save(create_model("resnet10t", num_classes=4).state_dict(), tmp_path / "resnet.pth")
        with pytest.raises(UsageError, match=r"^weights from it do not fit: \d+ missing") as refused:
            begin(fresh(), tmp_path / "resnet.pth")
        assert "\n" not in str(refused.value)
