"""``conf/model``: each file is a model that can be built, with the sizes that its paper's authors published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import ghostlab

CONF = Path(__file__).parents[2] / "conf" / "model"

# Exact parameters at 1,000 classes, and the dropout rate of the authors' code.
EFFICIENTNETS = {
    "efficientnet_b0": (5_288_548, 0.2),
    "efficientnet_b1": (7_794_184, 0.2),
    "efficientnet_b2": (9_109_994, 0.3),
    "efficientnet_b3": (12_233_232, 0.3),
    "efficientnet_b4": (19_341_616, 0.4),
    "efficientnet_b5": (30_389_784, 0.4),
    "efficientnet_b6": (43_040_704, 0.5),
    "efficientnet_b7": (66_347_960, 0.5),
    "efficientnetv2_s": (21_458_488, 0.2),
    "efficientnetv2_m": (54_139_356, 0.3),
    "efficientnetv2_l": (118_515_272, 0.4),
}
PARAMETERS = {
    "ghostnetv1": 5_182_508,
    "ghostnetv2": 6_156_908,
    "ghostnetv3": 8_129_028,
    "mobilenetv1": 4_231_976,
    "mobilenetv2": 3_504_872,
    "mobilenetv3": 5_483_032,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    **{name: params for name, (params, _) in EFFICIENTNETS.items()},
}


def node(file: str, stem_stride: int = 2, **changes: Any) -> dict[str, Any]:
    """The model's node as a run sees it."""
    cfg = OmegaConf.create({"model": OmegaConf.load(CONF / f"{file}.yaml"), "data": {"stem_stride": stem_stride}})
    OmegaConf.set_struct(cfg, True)
    cfg.model.update(changes)
    return OmegaConf.to_container(cfg.model, resolve=True)  # type: ignore[return-value]


def build(file: str, **changes: Any) -> nn.Module:
    options = node(file, **changes)
    with torch.device("meta"):
        return ghostlab.create_model(options.pop("name"), **options)


def test_every_file_is_tested() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == {*PARAMETERS, "timm"}


@pytest.mark.parametrize("file", PARAMETERS)
def test_a_file_is_a_model_of_the_published_size(file: str) -> None:
    model = build(file)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[file]
    assert model.drop_rate == node(file)["drop_rate"]


@pytest.mark.parametrize("file", PARAMETERS)
def test_the_file_is_named_as_the_model(file: str) -> None:
    assert node(file)["name"] == file


@pytest.mark.parametrize("file", EFFICIENTNETS)
def test_efficientnets_have_the_regularisation_of_their_family(file: str) -> None:
    assert (node(file)["drop_rate"], node(file)["drop_path_rate"]) == (EFFICIENTNETS[file][1], 0.2)


@pytest.mark.parametrize("file", ["ghostnetv2", "efficientnet_b0", "mobilenetv1", "resnet18"])
def test_the_data_sets_the_stem_stride(file: str) -> None:
    images = torch.empty(1, 3, 64, 64, device="meta")
    maps = [build(file, stem_stride=stride).eval().forward_features(images) for stride in (1, 2)]
    assert [features.shape[-1] for features in maps] == [4, 2]


def test_any_model_of_timm_needs_its_name_only() -> None:
    assert OmegaConf.is_missing(OmegaConf.load(CONF / "timm.yaml"), "name")
    assert type(build("timm", name="vgg11")).__name__ == "VGG"
