"""Models and runs by the name that a user gives, made as they are deployed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from pytest import param
from torch import nn

from ghostlab.benchmarks.deployables import LoadedNetwork, deployable
from ghostlab.deploy.lean import LeanGhostNet
from ghostlab.errors import UsageError
from ghostlab.models import count, create_model
from ghostlab.reparam import fuse, reparameterize
from ghostlab.runs.run import open_run


def batch_norms(ready: LoadedNetwork) -> int:
    assert isinstance(ready.call, nn.Module)
    return sum(isinstance(module, nn.BatchNorm2d) for module in ready.call.modules())


@pytest.mark.parametrize("name", ["mobileone_s0", "test_efficientnet"])
def test_a_model_is_fused_before_it_is_measured(name: str) -> None:
    one = deployable(name)
    ready = one.prepare()
    assert (one.name, one.runtime, one.top1) == (name, "eager", None)
    assert ready.form == "fused"
    assert batch_norms(ready) == 0
    assert not ready.call.training
    assert ready.params == sum(parameter.numel() for parameter in ready.call.parameters())
    assert ready.load > 0
    assert ready.call(torch.zeros(1, 3, ready.image_size, ready.image_size)).shape == (1, 1000)


def test_a_ghostnet_is_lean_and_has_the_counts_of_the_folded_network() -> None:
    ready = deployable("ghostnetv3:width=0.1", image_size=33).prepare()
    assert isinstance(ready.call, LeanGhostNet)
    assert ready.form == "lean"
    assert (ready.params, ready.macs) == count(create_model("ghostnetv3", width=0.1, layout="deployed"), 33)


def test_timm_may_fold_a_model_itself() -> None:
    ready = deployable("ghostnetv3_050:folded_by=timm", image_size=64).prepare()
    assert (ready.form, batch_norms(ready)) == ("by timm", 54)
    with pytest.raises(UsageError, match="folded_by=nobody; allowed: ghostlab, timm"):
        deployable("ghostnetv3_050:folded_by=nobody")


def test_options_follow_a_colon() -> None:
    ready = deployable("ghostnetv2:width=0.1,num_classes=7,gate_upsample=bilinear", image_size=32).prepare()
    model = create_model("ghostnetv2", width=0.1, num_classes=7, gate_upsample="bilinear", layout="deployed")
    assert (ready.params, ready.macs) == count(model, 32)
    assert ready.image_size == 32


def test_a_model_with_nothing_to_fold_is_measured_as_built() -> None:
    ready = deployable("test_vit").prepare()
    assert ready.form == "as built"
    assert ready.image_size == create_model("test_vit").pretrained_cfg["input_size"][-1] != 224


def test_a_run_is_fused_with_its_weights_and_has_the_size_of_its_images(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "model" / "reparam" / "seed0"
    model = reparameterize(create_model("test_efficientnet", num_classes=4), branches=2).eval()
    (folder / "checkpoints").mkdir(parents=True)
    data = {"name": "digits", "num_classes": 4, "image_size": 64, "test_size": 96}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": "test_efficientnet"}, "data": data}))
    torch.save({"state_dict": model.state_dict()}, folder / "checkpoints" / "last.ckpt")
    (folder / "result.json").write_text('{"top1": 61.5, "seconds": 1.0}')
    one = deployable(str(folder))
    ready = one.prepare()
    images = torch.randn(2, 3, 96, 96)
    assert (one.name, one.top1) == ("data/model/reparam/seed0", 61.5)
    assert (ready.form, ready.image_size) == ("fused", 96)
    assert (ready.params, ready.macs) == count(fuse(open_run(folder)[0])[0], 96)
    torch.testing.assert_close(ready.call(images), model(images), rtol=1e-4, atol=1e-4)
    checkpoint = deployable(str(folder / "checkpoints" / "last.ckpt"))
    assert (checkpoint.name, checkpoint.top1) == ("data/model/reparam/seed0/last.ckpt", None)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        param("outputs/none", "'outputs/none' is not a run folder or a checkpoint in one", id="path"),
        param("ghostnetv2:width", "'ghostnetv2:width': options are <name>=<value>", id="option"),
        param("ghostnetv2:widht=1", "model 'ghostnetv2' takes no option 'widht'; did you mean 'width'?", id="name"),
        param("ghostnetv9", "no model 'ghostnetv9'; did you mean 'ghostnetv", id="model"),
    ],
)
def test_what_is_neither_a_model_nor_a_run_is_refused(given: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        deployable(given).prepare()


def test_a_size_that_the_model_does_not_take_is_refused() -> None:
    line = "--image-size 100: test_vit: VisionTransformer takes no images of 100 x 100 px: Input height"
    with pytest.raises(UsageError, match=line):
        deployable("test_vit", image_size=100).prepare()
    with pytest.raises(UsageError, match="--image-size 0: must be at least 1"):
        deployable("test_vit", image_size=0)
