"""What is in an ONNX file in int8, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ghostlab.deploy.export.format import Quantizer
from ghostlab.deploy.export.onnx import Onnx
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError
from tests.deploy.int8.networks import LAYERS, described, digits, top1, trained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FORM = Onnx()


class Case(NamedTuple):
    network: Network
    images: torch.Tensor
    targets: torch.Tensor
    write: Quantizer
    folder: Path

    def file(self, *kept: str) -> Path:
        path = self.folder / f"{'-'.join(kept)}.onnx"
        if not path.exists():
            self.write(path, kept)
        return path


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    images, targets = digits()
    network = described(trained(images[:1000], targets[:1000]))
    write = FORM.quantizer(network, list(images[:64].split(16)))
    return Case(network, images[1000:], targets[1000:], write, tmp_path_factory.mktemp("int8"))


def weight_readers(path: Path) -> dict[str, Any]:
    """Of each layer's weights: the node that reads them."""
    graph = onnx.load(path).graph
    return {
        tensor.name.split(".")[0]: next(node for node in graph.node if tensor.name in node.input)
        for tensor in graph.initializer
        if ".weight" in tensor.name and not tensor.name.endswith(("_scale", "_zero_point"))
    }


def initializers(path: Path) -> dict[str, Any]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_it_answers_nearly_as_well_as_in_float(case: Case) -> None:
    before = top1(case.network.model, case.images, case.targets)
    assert before > 80
    assert top1(FORM.open(case.file(), 1), case.images, case.targets) == pytest.approx(before, abs=2)


def test_every_layer_is_in_int8_with_one_scale_a_channel(case: Case) -> None:
    values, readers = initializers(case.file()), weight_readers(case.file())
    assert set(readers) == set(LAYERS)
    for name, node in readers.items():
        weight, scale, zero = (values[key] for key in node.input)
        layer = case.network.model.get_submodule(name).weight
        assert node.op_type == "DequantizeLinear"
        assert weight.dtype == "int8"
        assert not zero.any()
        expected = layer.flatten(1).abs().amax(1).numpy() / 127
        assert scale == pytest.approx(expected, rel=0.01)


def test_a_layer_that_is_kept_is_in_float_and_the_others_are_not(case: Case) -> None:
    readers = weight_readers(case.file("2"))
    assert {name for name, node in readers.items() if node.op_type != "DequantizeLinear"} == {"2"}
    assert readers["2"].op_type == "Conv"
    assert initializers(case.file("2"))["2.weight"].dtype == "float32"


def test_with_all_layers_kept_nothing_is_rounded(case: Case) -> None:
    path = case.file(*LAYERS)
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(path).graph.node}
    torch.testing.assert_close(FORM.open(path, 1)(case.images), case.network.model(case.images), rtol=1e-4, atol=1e-4)


def test_the_description_survives(case: Case) -> None:
    assert FORM.describe(case.file()) == case.network.description


def test_a_layer_that_the_graph_has_not_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no weights of the layer 'stem'"):
        case.write(tmp_path / "x.onnx", ["stem"])
