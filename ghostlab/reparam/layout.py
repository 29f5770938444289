"""Bringing a model into the form (plain, grown or deployed) that the keys of a state dict have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ghostlab.reparam.blocks import collapse_all
from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import plain, renewed
from ghostlab.reparam.norms import BatchNorm, NormPlace
from ghostlab.reparam.pairs import Pair, survey
from ghostlab.reparam.plan import grown_pairs

__all__ = ["adopt_layout"]


MARKS = ("running_mean", "scale.conv.weight", "identity.present")
"""Ends of the keys in which any two forms of a model differ, by their presence or the shape of their values."""


@dataclass(frozen=True)
class _SiteForm:
    """The form of one Conv-BN site: grown (``branches`` > 0), plain (a norm at its own place) or deployed (neither).

    A grown one may have a norm at its own place, after the sum of its branches.
    """

    norm: bool
    branches: int = 0
    scale: bool = False
    identity: bool = False
    bias: bool = field(default=False, compare=False)


def adopt_layout(model: nn.Module, state_dict: Mapping[str, Tensor], example_input: Tensor | None = None) -> nn.Module:
    """Change each Conv-BN site of ``model`` to the form that ``state_dict`` (of our own names) has; in place.

    A site is *grown* when there is ``<conv>.conv.weight`` (its shape gives the number of branches, the keys give scale
    and identity branches, and whether there is a norm after the sum), *plain* when there is ``<conv>.weight`` and
    ``<norm>.running_mean``, *deployed* when there is ``<conv>.weight`` and ``<conv>.bias`` but nothing of the norm. Any
    form can become any other; only blocks that collapse by a method of their own (``collapsible``) cannot be opened
    again. What is new has fresh weights: load ``state_dict`` next. A site without the keys of a form is left, and
    loading will name its keys. Only when some form differs, the model runs once on ``example_input``, as in
    ``find_pairs``.
    """
    present = model.state_dict()
    if _marks(present) == _marks(state_dict):
        return model
    keys = state_dict.keys()
    collapse_all(model, grown_pairs(model, example_input), lambda lost, new: new <= keys and not lost & keys)
    bare = plain(copy_of(model))
    found = survey(bare, example_input)
    for pair in found.pairs:
        channels = pair.of(bare)[0].out_channels
        wanted = _form(pair, state_dict, channels)
        if wanted is not None and wanted != _form(pair, present, channels):
            _change(model, pair, wanted)
    for pair in (*found.after_linear, *found.before):
        _change_norm(model, pair, state_dict)
    return model


def _marks(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items() if key.endswith(MARKS)}


def _form(pair: Pair, state: Mapping[str, Tensor], channels: int) -> _SiteForm | None:
    """The form that the keys of ``state`` give to ``pair``, whose convolution has ``channels`` outputs."""
    conv, norm, bias = pair.conv, f"{pair.norm}.running_mean" in state, f"{pair.conv}.bias" in state
    if f"{conv}.conv.weight" in state:
        branches = max(1, len(state[f"{conv}.conv.weight"]) // channels)
        identity = f"{conv}.identity.{'present' if norm else 'running_mean'}" in state
        return _SiteForm(norm, branches, f"{conv}.scale.conv.weight" in state, identity)
    return _SiteForm(norm, bias=bias) if f"{conv}.weight" in state and (norm or bias) else None


def _change(model: nn.Module, pair: Pair, form: _SiteForm) -> None:
    old, place = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
    conv = old.single() if isinstance(old, MultiBranchConv) else cast(nn.Conv2d, old)
    norm = place.restore(conv.weight) if isinstance(place, NormPlace) else cast(BatchNorm, place)
    new: nn.Module
    if form.branches:
        new = MultiBranchConv.from_conv(conv, norm, form.branches, form.scale, form.identity, not form.norm)
    else:
        new = renewed(conv, form.bias)
    model.set_submodule(pair.conv, new.train(old.training))
    model.set_submodule(pair.norm, norm if form.norm else NormPlace(norm))


def _change_norm(model: nn.Module, pair: Pair, state: Mapping[str, Tensor]) -> None:
    """Fold the norm of ``pair`` into a layer that may be linear, or bring it back, as ``state`` has it."""
    layer, place = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
    assert isinstance(layer, (nn.Linear, nn.Conv2d))
    wanted, bias = f"{pair.norm}.running_mean" in state, f"{pair.conv}.bias" in state
    if wanted == isinstance(place, NormPlace) and (wanted or bias):
        model.set_submodule(pair.conv, renewed(layer, bias))
        norm = place.restore(layer.weight) if isinstance(place, NormPlace) else NormPlace(cast(BatchNorm, place))
        model.set_submodule(pair.norm, norm)
