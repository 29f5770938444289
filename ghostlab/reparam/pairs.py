"""Finding the convolutions whose output goes to one batch norm and nowhere else, by what the model computes."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import is_parametrized

from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.linear import is_before, why_not_after_linear
from ghostlab.reparam.norms import BatchNorm, is_batch_norm, why_not_affine
from ghostlab.reparam.trace import Trace, trace

__all__ = ["Pair", "Survey", "find_pairs", "survey"]


class Pair(NamedTuple):
    """The names of a convolution and of the batch norm that alone reads its output."""

    conv: str
    norm: str

    def of(self, model: nn.Module) -> tuple[nn.Conv2d, BatchNorm]:
        """The two modules in ``model``."""
        return cast(nn.Conv2d, model.get_submodule(self.conv)), cast(BatchNorm, model.get_submodule(self.norm))


@dataclass(frozen=True)
class Survey:
    """All pairs of a model in the order of computation, and each norm that is in none, with the reason."""

    pairs: tuple[Pair, ...]
    """A Conv2d and the batch norm after it."""
    after_linear: tuple[Pair, ...]
    """A linear layer and the BatchNorm1d after it."""
    before: tuple[Pair, ...]
    """A linear layer or an unpadded convolution, and the batch norm before it whose output it alone reads."""
    left: tuple[tuple[str, str], ...]


def find_pairs(model: nn.Module, example_input: Tensor | None = None) -> list[Pair]:
    """Every Conv2d whose output goes to one batch norm and nowhere else, in the order of computation.

    The model runs once in evaluation mode on ``example_input`` (B, C, H, W), by default blank images of the size in
    its ``pretrained_cfg`` or ``default_cfg``. Names and the order of definition play no part. Inside a
    ``MultiBranchConv`` nothing is searched. Raises ``UsageError`` when the input does not fit the model.

        >>> import torch
        >>> from torch import nn
        >>> from ghostlab.reparam import find_pairs
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        >>> find_pairs(net, torch.zeros(1, 3, 8, 8))
        [Pair(conv='0', norm='1')]
    """
    return list(survey(model, example_input).pairs)


def survey(model: nn.Module, example_input: Tensor | None = None) -> Survey:
    """What ``find_pairs`` finds, the batch norms around other layers, and why the rest is left.

    The rest is every other batch norm, and every norm of another kind after a Conv2d.
    """
    modules = _parts(model)
    seen = trace(model, modules, example_input)
    names = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    shared = {name for name, module in modules.items() if names[module] > 1}
    readers = _readers(modules, seen)
    pairs: list[Pair] = []
    after_linear: list[Pair] = []
    before: list[Pair] = []
    left: list[tuple[str, str]] = []
    for name in _norms(modules, seen):
        source, reader = seen.inputs.get(name, [None])[0], readers.get(name)
        is_1d = isinstance(modules[name], nn.BatchNorm1d)
        reason = "it or its layer has two names" if shared & {name, source} else _why_left(name, source, modules, seen)
        if source is not None and not reason:
            (after_linear if is_1d else pairs).append(Pair(source, name))
        elif reader is not None and not shared & {name, reader} and is_before(name, reader, modules, seen):
            before.append(Pair(reader, name))
        elif is_1d or is_batch_norm(modules[name]) or _is_conv(source, modules):
            left.append((name, reason))
    return Survey(tuple(pairs), tuple(after_linear), tuple(before), tuple(left))


INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The layers and norms by name, without those inside multi-branch convolutions."""
    kinds = (nn.Conv2d, nn.Linear, BatchNorm, *INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm)
    parts: dict[str, nn.Module] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if isinstance(module, MultiBranchConv):
            inside.update(module.modules())
        elif module not in inside and (isinstance(module, kinds) or is_batch_norm(module)):
            parts[name] = module
    return parts


def _is_conv(name: str | None, modules: dict[str, nn.Module]) -> bool:
    return name is not None and isinstance(modules[name], nn.Conv2d)


def _norms(modules: dict[str, nn.Module], seen: Trace) -> list[str]:
    """The norms in the order of computation, then the batch norms that never ran."""
    ran = [name for name in seen.inputs if not isinstance(modules[name], (nn.Conv2d, nn.Linear))]
    silent = [name for name in modules if name not in seen.inputs]
    return ran + [name for name in silent if isinstance(modules[name], nn.BatchNorm1d) or is_batch_norm(modules[name])]


def _readers(modules: dict[str, nn.Module], seen: Trace) -> dict[str, str]:
    """For each watched module whose output a layer reads, that layer."""
    layers = [name for name in seen.inputs if isinstance(modules[name], (nn.Conv2d, nn.Linear))]
    return {source: name for name in layers for source in seen.inputs[name] if source is not None}


def _why_left(name: str, source: str | None, modules: dict[str, nn.Module], seen: Trace) -> str:
    """The first rule that the norm ``name``, which read the output of ``source``, breaks; empty when they pair."""
    norm, runs = modules[name], len(seen.inputs.get(name, ()))
    if runs != 1:
        return f"it runs {runs} times"
    if isinstance(norm, nn.BatchNorm1d):
        return why_not_after_linear(name, source, modules, seen)
    if source is None or not _is_conv(source, modules):
        return "its input is not the output of one convolution"
    if not is_batch_norm(norm):
        return f"{type(norm).__name__} is not a batch norm"
    if seen.calls[source] != 1:
        return f"its convolution {source} runs {seen.calls[source]} times"
    if seen.uses(source) != 1:
        return f"the output of {source} is used {seen.uses(source)} times"
    if not _is_linear(cast(nn.Conv2d, modules[source])):
        return f"{type(modules[source]).__name__} {source} is not linear in a weight of its own"
    return why_not_affine(norm)


@torch.no_grad()
def _is_linear(conv: nn.Conv2d) -> bool:
    """Whether scaling the kernels scales the outputs; a subclass that standardises or quantises them fails."""
    if is_parametrized(conv) or "weight" not in dict(conv.named_parameters(recurse=False)):
        return False
    if type(conv) is nn.Conv2d:
        return True
    conv = copy.deepcopy(conv).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    size = [2 * d * k for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    x = torch.randn(1, conv.in_channels, *size, dtype=torch.float64, generator=generator)
    weight = torch.randn(conv.weight.shape, dtype=torch.float64, generator=generator)
    factor = torch.rand(len(weight), 1, 1, dtype=torch.float64, generator=generator) + 0.5
    zero, once, scaled = (
        functional_call(conv, {"weight": value}, x) for value in (0 * weight, weight, weight * factor[..., None])
    )
    return torch.allclose(scaled - zero, factor * (once - zero), rtol=1e-9, atol=1e-9)
