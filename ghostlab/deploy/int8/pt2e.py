"""Int8 in graphs of PyTorch ("PT2E"), as XNNPACK computes it: what ExecuTorch lowers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from ghostlab.deploy.export.program import exported_program
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError

__all__ = ["pt2e_int8"]

WEIGHTED = (torch.ops.aten.conv2d.default, torch.ops.aten.conv1d.default, torch.ops.aten.linear.default)


def pt2e_int8(
    network: Network, model: nn.Module, calibration: Sequence[Tensor], keep_float: Collection[str] = ()
) -> ExportedProgram:
    """The graph of ``model``, a form of the network's own, in int8, for batches of any size.

    Weights: symmetric, one scale an output channel. Activations: one scale a tensor, that which loses least over all
    batches (B, 3, H, W). ``keep_float`` are layers by the names of their weights; raises ``RunError`` for one that the
    graph has not. Needs torchao and executorch.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import allow_exported_model_train_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    graph: Any = exported_program(network, model).module()
    floats = float_nodes(graph, keep_float)
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(graph, quantizer.set_filter_function(lambda node: node.name not in floats))
    with torch.no_grad():
        for images in calibration:
            prepared(images)
    converted = convert_pt2e(prepared)
    allow_exported_model_train_eval(converted)
    return exported_program(network, converted)


def float_nodes(graph: GraphModule, layers: Collection[str]) -> set[str]:
    """Names of the nodes that are the ``layers``, and of those without weights that read nothing but such nodes."""
    wanted = {f"{name}.weight": name for name in layers}
    found: set[str] = set()
    floats: set[str] = set()
    for node in graph.graph.nodes:
        inputs = [n for n in node.all_input_nodes if n.op == "call_function"]
        weights = wanted.keys() & {n.target for n in node.all_input_nodes if n.op == "get_attr"}
        found |= weights
        carries = node.op == "call_function" and node.target not in WEIGHTED and inputs
        if weights or (carries and all(n.name in floats for n in inputs)):
            floats.add(node.name)
    missing = sorted(wanted[weight] for weight in wanted.keys() - found)
    if missing:
        raise RunError(f"--keep-float: the graph has no weights of the layer '{missing[0]}'")
    return floats
