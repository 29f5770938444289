"""ONNX files of any origin, measured as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import param

from ghostlab.benchmarks.contestants import file_deployable, input_of
from ghostlab.errors import UsageError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def written(folder: Path, *shapes: list[Any], kind: str = "FLOAT") -> Path:
    """A network that takes tensors of these shapes, and averages each image of the first."""
    number = getattr(onnx.TensorProto, kind)
    inputs = [onnx.helper.make_tensor_value_info(f"x{k}", number, shape) for k, shape in enumerate(shapes)]
    logits = onnx.helper.make_tensor_value_info("y", number, None)
    graph = onnx.helper.make_graph([onnx.helper.make_node("GlobalAveragePool", ["x0"], ["y"])], "g", inputs, [logits])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "theirs.onnx")
    return folder / "theirs.onnx"


@pytest.mark.parametrize(
    ("shape", "size", "takes", "form"),
    [
        param([1, 3, 32, 32], None, (32, 1), "file, batch 1", id="fixed"),
        param(["b", 3, 32, 32], 32, (32, None), "file", id="any batch"),
        param(["b", 3, "h", "w"], 48, (48, None), "file", id="any size"),
    ],
)
def test_its_input_says_how_it_is_called(
    tmp_path: Path, shape: list[Any], size: int | None, takes: tuple[int, int | None], form: str
) -> None:
    path = written(tmp_path, shape)
    assert input_of(path, size) == takes
    ready = file_deployable(str(path), size).prepare()
    assert (ready.form, ready.image_size, ready.params, ready.macs) == (form, takes[0], None, None)
    logits = ready.call(torch.ones(2, 3, takes[0], takes[0]))
    assert isinstance(logits, (torch.Tensor, list))
    assert len(logits) == 2


@pytest.mark.parametrize(
    ("shapes", "kind", "size", "line"),
    [
        param(
            [[1, 4, 8, 8]], "FLOAT", None, r"takes x0: tensor\(float\) \[1, 4, 8, 8\]; expected one input", id="colours"
        ),
        param([[1, 3, 8, 8]] * 2, "FLOAT", None, "expected one input, float images", id="two inputs"),
        param([[1, 3, 8, 8]], "FLOAT16", None, r"takes x0: tensor\(float16\)", id="numbers"),
        param([[4, 3, 8, 8]], "FLOAT", None, r"\[4, 3, 8, 8\]; expected", id="batch"),
        param([[1, 3, 8, 9]], "FLOAT", None, "takes images of 8 x 9 px", id="not square"),
        param([[1, 3, 8, 8]], "FLOAT", 9, r"--image-size 9: .*theirs\.onnx is for 8 px", id="size"),
        param(
            [[1, 3, "h", "w"]], "FLOAT", None, "takes images of any size; say of which with --image-size", id="no size"
        ),
    ],
)
def test_what_does_not_take_images_is_refused(
    tmp_path: Path, shapes: list[list[Any]], kind: str, size: int | None, line: str
) -> None:
    with pytest.raises(UsageError, match=line):
        file_deployable(str(written(tmp_path, *shapes, kind=kind)), size)
