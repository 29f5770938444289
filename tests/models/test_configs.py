"""``conf/model``: each file is a model that can be built, with the sizes that its paper's authors published."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import ghostlab
from ghostlab.data import DataConfig
from ghostlab.models.options import model_arguments
from ghostlab.runs import compose
from ghostlab.runs.settings import parse_node

CONF = Path(__file__).parents[2] / "conf" / "model"


class Published(NamedTuple):
    """Exact parameters at 1,000 classes, MACs at the test size, the sizes, and the dropout of the authors' code."""

    params: int
    macs: int
    train: int
    test: int
    drop_rate: float


EFFICIENTNETS = {
    "efficientnet_b0": Published(5_288_548, 385_814_752, 224, 224, 0.2),
    "efficientnet_b1": Published(7_794_184, 686_802_832, 240, 240, 0.2),
    "efficientnet_b2": Published(9_109_994, 993_561_872, 260, 260, 0.3),
    "efficientnet_b3": Published(12_233_232, 1_827_141_392, 300, 300, 0.3),
    "efficientnet_b4": Published(19_341_616, 4_393_771_024, 380, 380, 0.4),
    "efficientnet_b5": Published(30_389_784, 10_266_384_752, 456, 456, 0.4),
    "efficientnet_b6": Published(43_040_704, 19_067_593_536, 528, 528, 0.5),
    "efficientnet_b7": Published(66_347_960, 37_745_884_192, 600, 600, 0.5),
    "efficientnet_b4_fused3": Published(19_944_398, 7_340_923_264, 380, 380, 0.4),
    "efficientnet_b4_fused5": Published(42_526_672, 20_687_901_376, 380, 380, 0.4),
    "efficientnet_b4_fused7": Published(131_120_152, 33_737_321_152, 380, 380, 0.4),
    "efficientnetv2_b0": Published(7_139_704, 718_086_176, 192, 224, 0.2),
    "efficientnetv2_b1": Published(8_141_052, 1_196_819_360, 192, 240, 0.2),
    "efficientnetv2_b2": Published(10_096_086, 1_697_542_832, 208, 260, 0.3),
    "efficientnetv2_b3": Published(14_358_406, 3_011_458_816, 240, 300, 0.3),
    "efficientnetv2_s": Published(21_458_488, 8_365_617_152, 300, 384, 0.2),
    "efficientnetv2_m": Published(54_139_356, 24_582_460_384, 384, 480, 0.3),
    "efficientnetv2_l": Published(118_515_272, 56_079_699_008, 384, 480, 0.4),
    "efficientnetv2_xl": Published(208_119_808, 93_353_451_520, 384, 512, 0.4),
}
OTHERS = {
    "ghostnetv1": Published(5_182_508, 141_150_512, 224, 224, 0.2),
    "ghostnetv2": Published(6_156_908, 167_048_288, 224, 224, 0.2),
    "ghostnetv3": Published(8_129_028, 404_128_320, 224, 224, 0.2),
    "mobilenetv1": Published(4_231_976, 568_740_352, 224, 224, 0.0),
    "mobilenetv2": Published(3_504_872, 300_774_272, 224, 224, 0.2),
    "mobilenetv3": Published(5_483_032, 216_589_760, 224, 224, 0.2),
    "resnet18": Published(11_689_512, 1_814_073_344, 224, 224, 0.0),
    "resnet50": Published(25_557_032, 4_089_184_256, 224, 224, 0.0),
}
MODELS = {**EFFICIENTNETS, **OTHERS}


def node(file: str, stem_stride: int = 2, **changes: Any) -> dict[str, Any]:
    """The model's node as a run sees it."""
    cfg = OmegaConf.create({"model": OmegaConf.load(CONF / f"{file}.yaml"), "data": {"stem_stride": stem_stride}})
    OmegaConf.set_struct(cfg, True)
    cfg.model.update(changes)
    return OmegaConf.to_container(cfg.model, resolve=True)  # type: ignore[return-value]


def sizes(*overrides: str) -> tuple[int, int]:
    """Sides of the training and of the validation images of a run."""
    data = parse_node(DataConfig, compose(overrides).data, "data")
    return data.image_size, data.resolved_test_size


def build(file: str, **changes: Any) -> nn.Module:
    with torch.device("meta"):
        return ghostlab.create_model(**model_arguments(node(file, **changes)))


def test_every_file_is_tested() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == {*MODELS, "custom", "timm"}


@pytest.mark.parametrize("file", MODELS)
def test_a_file_is_a_model_of_the_published_size(file: str) -> None:
    known, model = MODELS[file], build(file)
    assert ghostlab.models.count(model, known.test) == (known.params, known.macs)
    assert model.drop_rate == node(file)["drop_rate"] == known.drop_rate


@pytest.mark.parametrize("file", MODELS)
def test_the_file_is_named_as_the_model_and_says_its_image_sizes(file: str) -> None:
    assert node(file)["name"] == file
    assert node(file)["native"] == {"train": MODELS[file].train, "test": MODELS[file].test}


@pytest.mark.parametrize("file", EFFICIENTNETS)
def test_efficientnets_have_the_stochastic_depth_of_their_family(file: str) -> None:
    assert node(file)["drop_path_rate"] == 0.2


@pytest.mark.parametrize("file", ["ghostnetv2", "efficientnet_b0", "mobilenetv1", "resnet18"])
def test_the_data_sets_the_stem_stride(file: str) -> None:
    images = torch.empty(1, 3, 64, 64, device="meta")
    maps = [build(file, stem_stride=stride).eval().forward_features(images) for stride in (1, 2)]
    assert [features.shape[-1] for features in maps] == [4, 2]


LARGE_IMAGES = [
    *("imagenet", "imagefolder", "caltech101", "flowers102"),
    *("food101", "stanfordcars", "fgvcaircraft", "oxfordpets", "birdsnap"),
]


@pytest.mark.parametrize("data", LARGE_IMAGES)
def test_large_images_have_the_size_the_model_was_designed_for(data: str) -> None:
    given = [f"data={data}", "data.root=somewhere"]
    assert sizes(*given, "model=efficientnetv2_s") == (300, 384)
    assert sizes(*given, "model=timm", "model.name=resnet10t") == (224, 224)


@pytest.mark.parametrize(
    ("data", "root", "size"),
    [("digits", "null", 24), ("cifar10", "x", 32), ("fashionmnist", "x", 28), ("eurosat", "x", 64)],
)
def test_small_images_keep_their_size(data: str, root: str, size: int) -> None:
    assert sizes(f"data={data}", f"data.root={root}", "model=efficientnetv2_s") == (size, size)


def test_a_size_that_is_given_is_that_of_the_validation_too() -> None:
    given = ["data=imagefolder", "data.root=somewhere", "model=efficientnetv2_s"]
    assert sizes(*given, "data.image_size=128") == (128, 128)
    assert sizes(*given, "data.image_size=128", "data.test_size=160") == (128, 160)


def test_any_model_of_timm_needs_its_name_only() -> None:
    assert OmegaConf.is_missing(OmegaConf.load(CONF / "timm.yaml"), "name")
    assert type(build("timm", name="vgg11")).__name__ == "VGG"
