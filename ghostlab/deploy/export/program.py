"""A network as the graph of ``torch.export``, from which most converters start."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel

from ghostlab.deploy.network import Network
from ghostlab.errors import RunError

__all__ = ["MAX_BATCH", "exported_program", "plain_attention"]

MAX_BATCH = 4096
"""Images that a batch may have."""


def exported_program(network: Network, model: nn.Module, dynamic_size: bool = False) -> ExportedProgram:
    """The graph of ``model``, a form of the network's own, for images (B, 3, H, W).

    H and W are those that the network is for unless ``dynamic_size``. Raises ``RunError`` for a model that has no such
    graph.
    """
    images, dims = network.example, {0: Dim("batch", min=1, max=MAX_BATCH)}
    if dynamic_size:
        # Of another height than width, so that they are not taken for one, and large: a map of one pixel is a case of
        # its own, in which the graph would be specialised.
        images = torch.randn(len(images), 3, 256, 320)
        dims |= {2: Dim.AUTO, 3: Dim.AUTO}
    try:
        with warnings.catch_warnings(action="ignore"), plain_attention():
            model.eval()  # no value: that of a graph returns none
            return torch.export.export(model, (images,), dynamic_shapes=(dims,), strict=False)
    except Exception as error:  # whatever tracing foreign code may raise
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"{network.description.architecture}: torch.export cannot trace it: {cause}") from error


def plain_attention() -> AbstractContextManager[None]:
    """Attention by its formula: what a fused kernel leaves in memory decides which views a graph may take, and those
    that converters put in its place leave it otherwise."""
    return sdpa_kernel(SDPBackend.MATH)
