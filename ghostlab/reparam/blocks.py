"""Blocks that collapse by a method of their own, as timm's of RepVGG, MobileOne, RepGhost, RepViT and FastViT do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ghostlab.private_apis import copy_hooks
from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import plain_site, sites
from ghostlab.reparam.norms import BatchNorm, NormPlace
from ghostlab.reparam.pairs import Pair

__all__ = ["collapse", "collapse_all", "collapsible"]

METHODS = ("fuse", "reparameterize", "switch_to_deploy")
"""Names of the method in timm and in the authors' code; the first that a block has is called."""

Grown = Mapping[str, Pair]
"""The multi-branch convolutions by name, with the places of their norms."""


def collapsible(model: nn.Module) -> list[str]:
    """Names of the modules with a method of ``METHODS`` that takes no arguments; an outer one before those in it.

    ``model`` itself is not among them, nor is anything inside a ``MultiBranchConv``.
    """
    inside = {module for site in sites(model).values() for module in site.modules()}
    return [name for name, module in model.named_modules() if name and module not in inside and _method(module)]


Wanted = Callable[[set[str], set[str]], bool]
"""Whether a block should collapse, given the keys of the state dict that this takes away and those that it adds."""


def collapse_all(model: nn.Module, grown: Grown, wanted: Wanted | None = None) -> tuple[list[str], dict[str, str]]:
    """Collapse every block of ``model`` that can be, in place: names of those that changed, and why others failed.

    A block is tried on a copy, so that one whose method fails stays as it was; blocks inside of it are tried then.
    """
    done: list[str] = []
    failed: dict[str, str] = {}
    for name in collapsible(model):
        block = _at(model, name)
        if block is None or not _method(block):
            continue  # a block around it has taken it in
        try:
            changed = _collapsed(copy_of(block), _inside(name, grown))
        except Exception as error:  # whatever a method of foreign code may raise
            cause = str(error).partition("\n")[0] or type(error).__name__
            failed[name] = f"{_method(block)}() of {type(block).__name__} fails: {cause}"
            continue
        before, after = _keys(name, block), _keys(name, changed)
        if before != after and (wanted is None or wanted(before - after, after - before)):
            done.append(name)
            _replace(model, block, changed)
    return done, failed


def collapse(model: nn.Module, names: Collection[str], grown: Grown) -> None:
    """Collapse the blocks ``names``, which ``collapse_all`` found; in place."""
    for name in names:
        block = model.get_submodule(name)
        _replace(model, block, _collapsed(block, _inside(name, grown)))


@torch.no_grad()
def _collapsed(block: nn.Module, grown: Grown) -> nn.Module:
    """``block`` after its method, which may be another module; computed in float64 on the CPU, then as it was."""
    before = _Before.of(block)
    with _default_float64():
        block.cpu().double().eval()
        opened = _open(block, grown)
        result = getattr(block, _method(block))()
    result = block if result is None else result
    if not isinstance(result, nn.Module):
        raise TypeError(f"it returns a {type(result).__name__}")
    for name, old, new in opened:
        if _at(result, name) is new:  # the method had no use for it
            result.set_submodule(name, old)
    return before.restore(result)


@dataclass(frozen=True)
class _Before:
    """What a block was like, to undo the side effects of its method."""

    device: torch.device
    dtype: torch.dtype
    """That of its first kernel: norms may have another."""
    training: bool
    modes: dict[nn.Module, bool]
    trainable: dict[nn.Parameter, bool]
    attributes: dict[nn.Module, set[str]]

    @classmethod
    def of(cls, block: nn.Module) -> _Before:
        kernel = next((parameter for parameter in block.parameters() if parameter.dim() in (2, 4)), torch.empty(0))
        modes = {module: module.training for module in block.modules()}
        trainable = {parameter: parameter.requires_grad for parameter in block.parameters()}
        attributes = {module: set(vars(module)) for module in block.modules()}
        return cls(kernel.device, kernel.dtype, block.training, modes, trainable, attributes)

    def restore(self, result: nn.Module) -> nn.Module:
        """``result`` on its device, in its precision and modes; what stayed is as trainable as it was, what is new is.

        Most of these methods take ``requires_grad`` from all, and some leave a kernel behind as a plain attribute,
        which no ``.to()`` would reach.
        """
        for module, known in self.attributes.items():
            for name in [name for name, value in vars(module).items() if isinstance(value, torch.Tensor)]:
                if name not in known:
                    delattr(module, name)
        result.to(device=self.device, dtype=self.dtype)
        for module in result.modules():
            module.training = self.modes.get(module, self.training)
        for parameter in result.parameters():
            parameter.requires_grad_(self.trainable.get(parameter, True))
        return result


def _open(block: nn.Module, grown: Grown) -> list[tuple[str, nn.Module, nn.Module]]:
    """Make the multi-branch convolutions of ``block`` pairs again, which its method knows: names, old and new parts."""
    opened: list[tuple[str, nn.Module, nn.Module]] = []
    for name, pair in grown.items():
        site, place = _at(block, name), _at(block, pair.norm)
        if isinstance(site, MultiBranchConv) and isinstance(place, NormPlace | BatchNorm):
            conv, norm = plain_site(site, place)
            opened += [(name, site, conv), (pair.norm, place, norm)]
    for name, _, new in opened:
        block.set_submodule(name, new)
    return opened


def _method(module: nn.Module) -> str:
    """The name of the method that collapses ``module``, empty when it has none or is collapsed already."""
    if getattr(module, "reparam_conv", None) is not None:
        return ""
    for name in METHODS:
        method = getattr(type(module), name, None)
        if callable(method) and len(inspect.signature(method).parameters) == 1:
            return name
    return ""


def _keys(name: str, module: nn.Module) -> set[str]:
    return {f"{name}.{key}" for key in module.state_dict()}


def _inside(name: str, grown: Grown) -> dict[str, Pair]:
    """The entries of ``grown`` inside the module ``name``, with names that begin there."""
    prefix = f"{name}."
    return {
        conv.removeprefix(prefix): Pair(pair.conv.removeprefix(prefix), pair.norm.removeprefix(prefix))
        for conv, pair in grown.items()
        if conv.startswith(prefix)
    }


def _at(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``old`` is, with the hooks that were on it."""
    if new is old:
        return
    if type(new) is not type(old):
        copy_hooks(old, new)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            model.set_submodule(name, new)


@contextmanager
def _default_float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
