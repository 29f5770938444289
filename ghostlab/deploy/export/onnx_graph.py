"""What an exporter's ONNX graph carries needlessly, taken away; the outputs stay."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

__all__ = ["name_axes", "simplify"]

AXES = {0: "batch", 2: "height", 3: "width"}
"""Names of those sides of the images that may be of any size."""

SMALL = 64
"""Pixels up to which a map is enlarged by one product of matrices."""


def simplify(model: Any) -> Any:
    """The ``ModelProto`` with fewer nodes, in place and returned.

    A mean over all of a map becomes the operator with that name, which runtimes compute in their own layout of
    channels. Where a map is enlarged to a size that is known, the arithmetic about its shape is left out: by a whole
    factor it is enlarged by that factor, also in their own layout, and a small map otherwise by a matrix.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(model)
    shapes = _shapes(model.graph)
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and _over_maps(model.graph, node):
            nodes.append(onnx.helper.make_node("GlobalAveragePool", node.input[:1], node.output, name=node.name))
        elif node.op_type == "Resize" and _is_plain_nearest(node, shapes):
            nodes += _enlarged(model.graph, node, shapes)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model.graph)
    return model


def name_axes(model: Any) -> Any:
    """The ``ModelProto``, whose one input are images, with ``AXES`` in place of the exporter's symbols, such as s77."""
    graph, images = model.graph, model.graph.input[0].type.tensor_type.shape.dim
    names = {images[axis].dim_param: name for axis, name in AXES.items() if images[axis].dim_param}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        for side in tensor.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), side.dim_param)
    return model


def _enlarged(graph: Any, node: Any, shapes: dict[str, list[int]]) -> list[Any]:
    """The same without arithmetic about shapes."""
    (height, width), (new_height, new_width) = (shapes[name][2:] for name in (node.input[0], node.output[0]))
    if new_height % height == 0 and new_width % width == 0:
        factors = np.array([1, 1, new_height // height, new_width // width], np.float32)
        del node.input[1:]
        node.input.extend(["", _constant(graph, f"{node.name}_factors", factors)])
    elif height * width > SMALL:
        del node.input[1:]
        node.input.extend(["", "", _constant(graph, f"{node.name}_size", np.array([new_height, new_width]))])
        node.attribute.extend(_attributes(axes=[2, 3]))
    else:
        return _taken(graph, node, shapes[node.input[0]], shapes[node.output[0]])
    return [node]


def _taken(graph: Any, node: Any, old: list[int], new: list[int]) -> list[Any]:
    """Each new pixel as the product of the old ones with a matrix that has a one where it comes from."""
    from onnx.helper import make_node

    rows, columns = (np.arange(new[axis]) * old[axis] // new[axis] for axis in (2, 3))
    matrix = np.eye(old[2] * old[3], dtype=np.float32)[:, (rows[:, None] * old[3] + columns).ravel()]
    names = {key: f"{node.name}_{key}" for key in ("flat", "product")}
    shapes = {"flat_shape": np.array([-1, old[1], old[2] * old[3]]), "shape": np.array([-1, *new[1:]])}
    constants = {"matrix": matrix, **shapes}
    named = {key: _constant(graph, f"{node.name}_{key}", value) for key, value in constants.items()}
    return [
        make_node("Reshape", [node.input[0], named["flat_shape"]], [names["flat"]], names["flat"]),
        make_node("MatMul", [names["flat"], named["matrix"]], [names["product"]], names["product"]),
        make_node("Reshape", [names["product"], named["shape"]], node.output, node.name),
    ]


def _is_plain_nearest(node: Any, shapes: dict[str, list[int]]) -> bool:
    """Whether it takes, for each new pixel, that at the rounded down place, between maps whose sides are known."""
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    how = {key: given.get(key) for key in ("mode", "nearest_mode", "coordinate_transformation_mode")}
    wanted = {"mode": b"nearest", "nearest_mode": b"floor", "coordinate_transformation_mode": b"asymmetric"}
    known = all(len(shapes.get(name, ())) == 4 and all(shapes[name][1:]) for name in (node.input[0], node.output[0]))
    return how == wanted and known


def _over_maps(graph: Any, node: Any) -> bool:
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    axes = next((onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == node.input[-1]), np.array([]))
    return given.get("keepdims", 1) == 1 and sorted(axes.tolist()) in ([2, 3], [-2, -1])


def _shapes(graph: Any) -> dict[str, list[int]]:
    """Of every tensor; 0 for a side that is not known."""
    tensors = [*graph.input, *graph.value_info, *graph.output]
    return {tensor.name: [dim.dim_value for dim in tensor.type.tensor_type.shape.dim] for tensor in tensors}


def _attributes(**values: Any) -> list[Any]:
    import onnx

    return [onnx.helper.make_attribute(name, value) for name, value in values.items()]


def _constant(graph: Any, name: str, value: np.ndarray) -> str:
    import onnx

    graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return name


def _drop_unused(graph: Any) -> None:
    """Take away nodes and constants that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        dead = [node for node in graph.node if not read & {*node.output}]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
