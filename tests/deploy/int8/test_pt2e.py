"""Graphs of PyTorch in int8, and what ExecuTorch makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ghostlab.deploy.export.executorch import ExecuTorch
from ghostlab.errors import RunError
from tests.deploy.int8.networks import LAYERS, described, digits, top1, trained

pytest.importorskip("torchao")
pytest.importorskip("executorch")

from ghostlab.deploy.int8.pt2e import pt2e_int8


@pytest.fixture(scope="module")
def images_and_targets() -> tuple[Tensor, Tensor]:
    return digits()


@pytest.fixture(scope="module")
def model(images_and_targets: tuple[Tensor, Tensor]) -> nn.Module:
    images, targets = images_and_targets
    return trained(images[:1000], targets[:1000])


def in_int8(model: nn.Module, images: Tensor, kept: tuple[str, ...]) -> tuple[nn.Module, list[str]]:
    """The quantized graph, and its operators."""
    program = pt2e_int8(described(model), model, list(images[:64].split(16)), kept)
    return program.module(), [str(node.target) for node in program.graph.nodes]


@pytest.mark.parametrize("kept", [(), ("0", "2")])
def test_every_layer_but_those_kept_has_a_scale_for_each_channel(
    model: nn.Module, images_and_targets: tuple[Tensor, Tensor], kept: tuple[str, ...]
) -> None:
    images, targets = images_and_targets
    graph, operators = in_int8(model, images, kept)
    assert sum("dequantize_per_channel" in operator for operator in operators) == len(LAYERS) - len(kept)
    assert top1(graph, images[1000:], targets[1000:]) == pytest.approx(
        top1(model, images[1000:], targets[1000:]), abs=2
    )


def test_with_all_layers_kept_nothing_is_rounded(model: nn.Module, images_and_targets: tuple[Tensor, Tensor]) -> None:
    images, _ = images_and_targets
    graph, operators = in_int8(model, images, LAYERS)
    assert not any("quantize" in operator for operator in operators)
    torch.testing.assert_close(graph(images), model(images))


def test_a_layer_that_the_graph_has_not_is_refused(model: nn.Module) -> None:
    with pytest.raises(RunError, match="no weights of the layer 'stem'"):
        pt2e_int8(described(model), model, [torch.zeros(2, 3, 8, 8)], ["stem"])


def test_executorch_answers_nearly_as_well_in_int8(
    model: nn.Module, images_and_targets: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    images, targets = images_and_targets
    form, path = ExecuTorch(), tmp_path / "x.pte"
    form.quantize(described(model), path, list(images[:64].split(16)))
    assert form.describe(path) == described(model).description
    after = top1(form.open(path, 1), images[1000:], targets[1000:])
    assert after == pytest.approx(top1(model, images[1000:], targets[1000:]), abs=2)
