"""The authors' own code against ours: same official-format weights, same input, same logits.

``tests/golden/ghostnet_official.json`` holds what their definitions of GhostNet V1, V2 and V3 (1.0x, evaluation,
float64) compute for weights and an input that the rules below rebuild from the names of the keys alone.
"""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import ghostlab

RECORDS = {
    record["name"]: record
    for record in json.loads((Path(__file__).parents[1] / "golden" / "ghostnet_official.json").read_text())
}
TOLERANCE = 1e-8


def weight_by_rule(key: str, shape: list[int], gamma_scale: float) -> Tensor:
    """A tensor that depends on its key only; a uniform draw always follows one normal draw of the same shape."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    normal = random.standard_normal(shape)
    if key.endswith("running_var"):
        value = 0.75 + 0.5 * random.random_sample(shape)
    elif key.endswith(("running_mean", "bias")):
        value = 0.1 * normal
    elif len(shape) == 1:
        value = gamma_scale * (0.75 + 0.5 * random.random_sample(shape))
    else:
        value = normal * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value))


@functools.cache
def official(name: str) -> dict[str, Tensor]:
    record = RECORDS[name]
    return {key: weight_by_rule(key, shape, record["gamma_scale"]) for key, shape in record["state_dict"]}


@functools.cache
def images(shape: tuple[int, ...]) -> Tensor:
    values = np.random.RandomState(20240422).standard_normal(shape).astype("float32")
    return torch.from_numpy(values).double()


def largest_difference(model: torch.nn.Module, name: str) -> float:
    record = RECORDS[name]
    with torch.no_grad():
        logits = model.double().eval()(images(tuple(record["input"])))
    return float((logits - torch.tensor(record["logits"], dtype=torch.float64)).abs().max())


def in_timm_format(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's port names the batch norms of branches ``bn1``, everything else alike."""
    return {key.replace(".bn.", ".bn1."): tensor for key, tensor in state_dict.items()}


@pytest.mark.parametrize("version", [pytest.param(1, id="v1"), pytest.param(2, id="v2")])
def test_v1_and_v2_have_the_official_keys_in_the_official_order(version: int) -> None:
    model = ghostlab.create_model(f"ghostnetv{version}")
    ours = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]
    assert ours == RECORDS[f"ghostnet_v{version}_1.0"]["state_dict"]


@pytest.mark.parametrize("version", [pytest.param(v, id=f"v{v}") for v in (1, 2, 3)])
def test_official_weights_give_the_official_logits(version: int) -> None:
    name = f"ghostnet_v{version}_1.0"
    model = ghostlab.load_weights(ghostlab.create_model(f"ghostnetv{version}").double(), official(name))
    assert largest_difference(model, name) <= TOLERANCE


def test_timm_format_weights_give_the_official_logits_before_and_after_fusing() -> None:
    name = "ghostnet_v3_1.0"
    weights = in_timm_format(official(name))
    assert weights.keys() != official(name).keys()
    model = ghostlab.load_weights(ghostlab.create_model("ghostnetv3").double(), weights)
    assert largest_difference(model, name) <= TOLERANCE
    fused, _ = ghostlab.fuse(model, torch.randn(1, 3, 64, 64).double())
    assert largest_difference(fused, name) <= TOLERANCE
    assert len(fused.state_dict()) < len(model.state_dict())


def test_a_wrong_weight_is_seen() -> None:
    name = "ghostnet_v1_1.0"
    key = "blocks.6.2.ghost1.cheap_operation.1.running_var"
    weights = {**official(name), key: official(name)[key] + 1e-3}
    model = ghostlab.load_weights(ghostlab.create_model("ghostnetv1").double(), weights)
    assert largest_difference(model, name) > TOLERANCE
