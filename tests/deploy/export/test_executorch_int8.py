"""Graphs of PyTorch in int8, and what ExecuTorch makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ghostlab.deploy.export.executorch import ExecuTorch, float_nodes, pt2e_int8
from ghostlab.deploy.export.program import exported_program
from ghostlab.errors import RunError
from tests.deploy.int8.networks import LAYERS, described, digits, top1, trained

pytest.importorskip("torchao")
pytest.importorskip("executorch")


@pytest.fixture(scope="module")
def images_and_targets() -> tuple[Tensor, Tensor]:
    return digits()


@pytest.fixture(scope="module")
def model(images_and_targets: tuple[Tensor, Tensor]) -> nn.Module:
    images, targets = images_and_targets
    return trained(images[:1000], targets[:1000])


def test_every_layer_but_those_kept_has_a_scale_for_each_channel(
    model: nn.Module, images_and_targets: tuple[Tensor, Tensor]
) -> None:
    images, targets = images_and_targets
    quantized = pt2e_int8(described(model), model, list(images[:64].split(16)), ("0", "2"))
    operators = [str(node.target) for node in quantized.graph.nodes]
    assert sum("dequantize_per_channel" in operator for operator in operators) == len(LAYERS) - 2
    before, after = (top1(m, images[1000:], targets[1000:]) for m in (model, quantized.module()))
    assert after == pytest.approx(before, abs=2)


def test_what_lies_between_layers_in_float_is_in_float_too(model: nn.Module) -> None:
    graph: Any = exported_program(described(model), model).module()
    calls = [node.name for node in graph.graph.nodes if node.op == "call_function"]
    assert float_nodes(graph, LAYERS).issuperset(calls)
    assert float_nodes(graph, LAYERS[:2]) - {"_guards_fn"} == {"conv2d", "relu", "conv2d_1", "relu_1"}


def test_a_layer_that_the_graph_has_not_is_refused(model: nn.Module) -> None:
    with pytest.raises(RunError, match="no weights of the layer 'stem'"):
        pt2e_int8(described(model), model, [torch.zeros(2, 3, 8, 8)], ["stem"])


def test_executorch_answers_nearly_as_well_in_int8(
    model: nn.Module, images_and_targets: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    images, targets = images_and_targets
    form, path = ExecuTorch(), tmp_path / "x.pte"
    form.quantizer(described(model), list(images[:64].split(16)))(path, ())
    assert form.describe(path) == described(model).description
    after = top1(form.open(path, 1), images[1000:], targets[1000:])
    assert after == pytest.approx(top1(model, images[1000:], targets[1000:]), abs=2)
