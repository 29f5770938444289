"""A network as the graph of ``torch.export``, from which most converters start."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel

from ghostlab.deploy.network import Network
from ghostlab.errors import RunError

__all__ = ["MOST", "plain_attention", "program", "quiet"]

MOST = 4096
"""Images that a batch may have."""


def program(network: Network, model: nn.Module, dynamic_batch: bool, dynamic_size: bool = False) -> ExportedProgram:
    """The graph of ``model``, a form of the network's own, for images (B, 3, H, W).

    B is 1 unless ``dynamic_batch``; H and W are those that the network is for unless ``dynamic_size``. Raises
    ``RunError`` for a model that has no such graph.
    """
    images = network.example if dynamic_batch else network.example[:1]
    dims: dict[int, Any] = {0: Dim("batch", min=1, max=MOST)} if dynamic_batch else {}
    if dynamic_size:
        # Of another height than width, so that they are not taken for one, and large: a map of one pixel is a case of
        # its own, in which the graph would be specialised.
        images = torch.randn(len(images), 3, 256, 320)
        dims |= {2: Dim.AUTO, 3: Dim.AUTO}
    try:
        with quiet(), plain_attention():
            model.eval()  # no value: that of a graph returns none
            return torch.export.export(model, (images,), dynamic_shapes=(dims,) if dims else None, strict=False)
    except Exception as error:  # whatever tracing foreign code may raise
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"{network.description.architecture}: torch.export cannot trace it: {cause}") from error


def plain_attention() -> AbstractContextManager[None]:
    """Attention by its formula: what a fused kernel leaves in memory decides which views a graph may take, and those
    that converters put in its place leave it otherwise."""
    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the converters' warnings, which are about their own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
