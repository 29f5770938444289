"""A lean GhostNet computes what the folded one does, whatever its channels are padded to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytest import param
from torch import nn

import ghostlab
from ghostlab.deploy.lean import lean
from tests.reparam.nets import scatter

SMALL = {"width": 0.2, "depth": 0.1}
NETWORKS = [
    param("ghostnetv2", {"width": 0.35, "depth": 0.3}, id="v2"),
    param("ghostnetv1", {"width": 0.1, "depth": 1.4}, id="v1-deeper"),
    param("ghostnetv3", {**SMALL, "num_classes": 0}, id="v3-without-classifier"),
    param("ghostnetv2", {**SMALL, "gate_upsample": "bilinear", "stem_stride": 1}, id="v2-bilinear"),
    param("ghostnetv2", {**SMALL, "global_pool": "max", "in_chans": 1}, id="v2-grey"),
]


def folded(name: str, **options: Any) -> nn.Module:
    model = scatter(ghostlab.create_model(name, **{"num_classes": 5, **options})).double()
    return ghostlab.fuse(model)[0].eval()


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_the_outputs_are_the_same(name: str, options: dict[str, Any]) -> None:
    model = folded(name, **options)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for block in (1, 4, 16):
        leaner = lean(model, block)
        for size in ((64, 64), (33, 97)):
            images = torch.randn(2, options.get("in_chans", 3), *size, dtype=torch.float64)
            with torch.no_grad():
                expected = model(images)
                torch.testing.assert_close(leaner(images), expected, rtol=0, atol=1e-9 * expected.abs().max().item())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_its_layers_have_the_names_of_the_folded_ones() -> None:
    model = folded("ghostnetv2", width=0.35, depth=0.1)

    def layers(of: nn.Module) -> list[str]:
        return sorted(name for name, module in of.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))

    assert layers(lean(model)) == layers(lean(model, 16)) == layers(model)


def test_the_halves_of_its_ghost_modules_fill_blocks() -> None:
    model = lean(ghostlab.create_model("ghostnetv2", layout="deployed"), 16)
    joined = [module for name, module in model.named_modules() if name.endswith(("ghost1", "ghost2"))]
    assert len(joined) == 32
    assert all(module.primary_conv[0].out_channels % 16 == 0 for module in joined)
    assert [module.doubled for module in joined[:4]] == [True, True, True, False]  # halves of 8, 8, 24 and 12


@pytest.mark.parametrize(
    "model",
    [
        param(lambda: ghostlab.create_model("ghostnetv2", width=0.1), id="not-folded"),
        param(lambda: ghostlab.create_model("test_resnet"), id="another-family"),
    ],
)
def test_what_is_no_folded_ghostnet_is_left_as_it_is(model: Any) -> None:
    given = model()
    assert lean(given) is given
