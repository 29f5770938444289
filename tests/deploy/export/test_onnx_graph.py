"""The graph that is written holds what the network computes, and nothing about shapes."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from ghostlab.deploy.export.onnx import open_session, to_onnx
from ghostlab.deploy.export.onnx_graph import simplify
from ghostlab.deploy.network import Network
from tests.deploy.networks import network

onnx = pytest.importorskip("onnx")


def nodes(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture(scope="module")
def ghost() -> Network:
    """Its gates are enlarged from 2 to 4 pixels (4 of them), 3 to 7 (6), 6 to 13 (2) and 12 to 25 (2)."""
    return network("ghostnetv2", 97, width=0.1)


@pytest.fixture(scope="module")
def exported(ghost: Network) -> Any:
    return to_onnx(ghost)


def test_shape_arithmetic_is_gone_and_means_have_their_operator(exported: Any) -> None:
    before, after = nodes(exported), nodes(simplify(copy.deepcopy(exported)))
    assert (before["Shape"], before["Resize"], before["ReduceMean"]) == (14, 14, 8)
    assert (after["Shape"], after["ReduceMean"], after["GlobalAveragePool"]) == (0, 0, 8)
    assert (after["Resize"], after["MatMul"]) == (6, 8)
    assert after["Conv"] == before["Conv"] == 137


def test_the_outputs_stay_for_any_batch(ghost: Network, exported: Any, tmp_path: Path) -> None:
    onnx.save(simplify(copy.deepcopy(exported)), tmp_path / "model.onnx")
    runtime = open_session(tmp_path / "model.onnx", 1)
    for batch in (1, 3):
        images = torch.randn(batch, 3, 97, 97)
        expected = ghost.model(images)
        answers = torch.from_numpy(runtime.run(None, {"images": images.numpy()})[0])
        torch.testing.assert_close(answers, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
