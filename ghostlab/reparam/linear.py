"""Batch norms that fold into another layer than a convolution before them: a linear layer, or the layer after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ghostlab.reparam.norms import NormPlace, is_batch_norm, why_not_affine
from ghostlab.reparam.trace import Trace

__all__ = ["is_before", "why_not_after_linear"]


def why_not_after_linear(name: str, layer: str | None, modules: Mapping[str, nn.Module], seen: Trace) -> str:
    """Why the BatchNorm1d ``name`` does not fold into ``layer``, whose output it read; empty when it does."""
    norm = cast(nn.BatchNorm1d, modules[name])
    if layer is None or type(modules[layer]) is not nn.Linear or not _is_own(modules[layer]):
        return "its input is not the output of one linear layer"
    if seen.calls[layer] != 1:
        return f"its linear layer {layer} runs {seen.calls[layer]} times"
    if seen.uses(layer) != 1:
        return f"the output of {layer} is used {seen.uses(layer)} times"
    if seen.dimensions(layer) != {2}:
        return f"the output of {layer} is not (batch, channels)"
    if type(norm) is not nn.BatchNorm1d:
        return f"{type(norm).__name__} may do more than a batch norm"
    return "" if norm.running_mean is not None else "it keeps no running statistics"


def is_before(name: str, layer: str, modules: Mapping[str, nn.Module], seen: Trace) -> bool:
    """Whether ``layer`` alone reads the norm ``name`` and can take it in: it is linear and pads with nothing.

    A padded convolution sees zeros at the border where the norm's shift is missing, so that no one bias replaces it.
    """
    norm, conv = modules[name], modules[layer]
    if not _passes_once(name, layer, seen) or not _is_own(conv):
        return False
    if type(norm) is nn.BatchNorm1d:
        affine = norm.running_mean is not None
    else:
        affine = is_batch_norm(norm) and not why_not_affine(norm) and not list(NormPlace(norm).children())
    if isinstance(conv, nn.Linear):
        return affine and seen.dimensions(name) == {2}
    unpadded = set(cast(nn.Conv2d, conv).padding) <= {0} or conv.padding == "valid"
    return affine and unpadded and seen.dimensions(name) == {4}


def _passes_once(source: str, reader: str, seen: Trace) -> bool:
    """Whether both run once, and the one output of ``source`` goes to ``reader`` and nowhere else."""
    return seen.calls[source] == seen.calls[reader] == 1 and seen.uses(source) == 1


def _is_own(layer: nn.Module) -> bool:
    return type(layer) in (nn.Linear, nn.Conv2d) and not is_parametrized(layer)
