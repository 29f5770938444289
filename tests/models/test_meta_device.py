from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import ghostlab
from ghostlab.errors import UsageError
from ghostlab.models import count

# Parameters and MACs of the authors' networks at 224 px, 1,000 classes; "fused": branches folded, other norms kept.
TABLE = {
    ("ghostnetv1", 0.5): (2_587_292, 42_328_152),
    ("ghostnetv1", 1.0): (5_182_508, 141_150_512),
    ("ghostnetv1", 1.3): (7_358_820, 227_003_256),
    ("ghostnetv1", 1.6): (9_998_746, 335.05e6),
    ("ghostnetv2", 0.5): (2_857_836, 49_640_656),
    ("ghostnetv2", 1.0): (6_156_908, 167_048_288),
    ("ghostnetv2", 1.3): (8_960_404, 269_322_976),
    ("ghostnetv2", 1.6): (12_392_698, 398_607_224),
    ("ghostnetv3", 0.5): (3_395_384, 117_528_000),
    ("ghostnetv3", 1.0): (8_129_028, 404_128_320),
    ("ghostnetv3", 1.3): (12_217_720, 654_842_824),
    ("ghostnetv3", 1.6): (17_275_700, 971_574_612),
}
FUSED = {
    0.5: (2_853_176, 49_640_656),
    1.0: (6_147_588, 167_048_288),
    1.3: (8_948_296, 269_322_976),
    1.6: (12_377_778, 398_607_224),
}


@pytest.mark.parametrize(("name", "width"), [pytest.param(*key, id=f"{key[0]}-{key[1]}") for key in TABLE])
def test_ghostnets_have_the_published_counts(name: str, width: float) -> None:
    params, macs = TABLE[name, width]
    with torch.device("meta"):
        model = ghostlab.create_model(name, width=width)
    counts = count(model, 224)
    assert counts.params == params
    assert counts.macs == (macs if isinstance(macs, int) else pytest.approx(macs, abs=5000))


@pytest.mark.parametrize("width", [pytest.param(width, id=str(width)) for width in FUSED])
def test_weights_in_the_official_deployed_layout_have_the_published_counts(width: float) -> None:
    theirs = timm.create_model(f"ghostnetv3_{round(100 * width):03d}")
    deployed = timm.utils.model.reparameterize_model(theirs).state_dict()
    model = ghostlab.load_weights(ghostlab.create_model("ghostnetv2", width=width), deployed)
    assert count(model, 224) == FUSED[width]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 54
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 137
    assert len(list(model.parameters())) == 330


def test_fusing_folds_the_other_54_norms_as_well() -> None:
    fused, _ = ghostlab.fuse(ghostlab.create_model("ghostnetv3", width=0.5), torch.randn(1, 3, 64, 64))
    channels_of_the_norms = 10_936  # each had a scale and a shift and keeps one bias
    assert count(fused, 224) == (FUSED[0.5][0] - channels_of_the_norms, FUSED[0.5][1])


def test_macs_of_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    macs = 8 * 27 * 5 * 4 + 8 * 5 * 5 * 4 + 80  # on maps of 5 x 4
    assert count(model, (10, 7)) == ((8 * 27 + 8) + 16 + 40 + 90, macs)


@pytest.mark.parametrize(
    ("name", "size", "macs"),
    [
        pytest.param("pit_ti_224", 224, 699e6, id="a-token-is-handed-on"),
        pytest.param("tresnet_m", 64, None, id="pixels-become-channels-first"),
        pytest.param("naflexvit_base_patch16_gap", 64, None, id="no-convolution"),
    ],
)
def test_networks_that_do_not_begin_with_a_convolution(name: str, size: int, macs: float | None) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    counts = count(model, size)
    assert counts.macs == pytest.approx(macs, rel=0.02) if macs else counts.macs > 1e8


def test_a_size_that_is_not_taken_is_named() -> None:
    with torch.device("meta"):
        model = timm.create_model("test_vit3")
    with pytest.raises(UsageError, match=r"takes no images of 64 x 64 px: Input height \(64\) doesn't match"):
        count(model, 64)


def test_counting_leaves_the_model_alone() -> None:
    model = ghostlab.create_model("ghostnetv2", width=0.5).train()
    model.bn1.eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    count(model, 64)
    assert not model.bn1.training
    assert model.blocks.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
