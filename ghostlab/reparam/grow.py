"""Turning the Conv-BN pairs of a model into multi-branch convolutions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ghostlab.errors import UsageError, unknown
from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.norms import BatchNorm, NormPlace
from ghostlab.reparam.online import MODES
from ghostlab.reparam.pairs import Pair, find_pairs

__all__ = ["INITS", "NORMS", "grow_pair", "reparameterize"]

logger = logging.getLogger(__name__)

INITS = ("fresh", "preserve")
"""How branches may begin: all with new weights, or so that the model computes what it did."""

NORMS = ("branches", "sum")
"""Where batch norms are: one in every branch, or one after the sum and others in the branches of full kernels only."""


def reparameterize(
    model: nn.Module,
    branches: int = 3,
    scale: bool = True,
    identity: bool = True,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    example_input: Tensor | None = None,
    init: str = "fresh",
    online: str = "auto",
    norm: str = "branches",
) -> nn.Module:
    """Give the Conv-BN pairs of ``model`` ``branches`` parallel Conv-BN branches each; in place, and returned.

    ``scale`` and ``identity`` add a 1x1 and a bare batch-norm branch where they are one tap of the kernel. ``include``
    and ``exclude`` are patterns (``fnmatch``) of convolution names; without ``include`` the model's own rule
    ``reparam_include`` holds if it has one, else every pair of ``find_pairs`` grows. With ``init="fresh"`` all branches
    start with new weights. With ``init="preserve"`` the model computes what it did, in training and in evaluation: the
    first branch of each takes kernel and norm over, the others have new kernels and norms whose weight is 0 at first.

    With ``norm="sum"`` the pair's own batch norm stays where it is, after the sum, and the 1x1 and identity branches
    have none, as QARepVGG (arXiv 2212.01593) proposes for INT8. To preserve is then to leave
    out the identity, which nothing could silence; in training the outputs are the former ones but for the norm's eps.

    ``online`` says how the branches are computed in training: "never" one by one, "always" as one convolution that
    gives the same outputs, gradients and statistics, "auto" whichever is faster for a layer.

    Raises ``UsageError`` for ``branches`` below 1, for another ``init``, ``online`` or ``norm``, when no pair is
    eligible, and when the norm of one to preserve has no weight; the model is then what it was.

        >>> import timm, ghostlab
        >>> model = ghostlab.reparameterize(timm.create_model("test_resnet"), branches=3)
        >>> sum(type(module).__name__ == "MultiBranchConv" for module in model.modules())
        15
    """
    if not isinstance(branches, int) or branches < 1:
        raise UsageError(f"branches={branches}: must be a whole number of at least 1")
    if init not in INITS:
        raise UsageError(f"init={init}: {unknown('init', str(init), INITS)}")
    if online not in MODES:
        raise UsageError(f"online={online}: {unknown('mode', str(online), MODES)}")
    if norm not in NORMS:
        raise UsageError(f"norm={norm}: {unknown('norm', str(norm), NORMS)}")
    rule = getattr(model, "reparam_include", ("*",)) if include is None else include
    eligible = [pair for pair in find_pairs(model, example_input) if _can_grow(model, pair)]
    chosen = [pair for pair in eligible if _matches(pair.conv, rule) and not _matches(pair.conv, exclude)]
    if not chosen:
        which = f"include={list(_listed(rule))}, exclude={list(_listed(exclude))}"
        raise UsageError(
            f"no Conv-BN pair of {type(model).__name__} to grow: {len(eligible)} are eligible, none matches {which}"
        )
    for pattern in (*_listed(include or ()), *_listed(exclude)):
        if not any(_matches(pair.conv, (pattern,)) for pair in eligible):
            logger.warning("'%s' matches no Conv-BN pair of %s", pattern, type(model).__name__)
    if init == "preserve":
        _require_weights(model, chosen)
    for pair in chosen:
        grow_pair(model, pair, branches, scale, identity, init, norm)
    for site in model.modules():
        if isinstance(site, MultiBranchConv):
            site.online = online
    logger.info("grew %d of %d Conv-BN pairs to %d branches", len(chosen), len(eligible), branches)
    return model


def grow_pair(
    model: nn.Module,
    pair: Pair,
    branches: int,
    scale: bool,
    identity: bool,
    init: str = "fresh",
    norm: str = "branches",
) -> None:
    """Replace one pair of ``model`` by a multi-branch convolution and the norm or its place; in place."""
    conv, old = pair.of(model)
    own_norms = norm == "branches"
    identity = identity and (own_norms or init == "fresh")
    site = MultiBranchConv.from_conv(conv, old, branches, scale, identity, own_norms)
    if init == "preserve":
        _preserve(site, conv, old)
        if not own_norms:
            _pass_through(site, old)
    elif not own_norms:
        old.reset_parameters()
    model.set_submodule(pair.conv, site)
    if own_norms:
        model.set_submodule(pair.norm, NormPlace(old))


@torch.no_grad()
def _pass_through(site: MultiBranchConv, norm: BatchNorm) -> None:
    """Let the first branch, which has the statistics of ``norm``, give it what the convolution alone gave it."""
    assert norm.running_mean is not None and norm.running_var is not None
    first = slice(site.out_channels)
    site.bn.weight[first] = (norm.running_var + norm.eps).sqrt()
    site.bn.bias[first] = norm.running_mean
    if site.scale is not None:
        site.scale.conv.weight.zero_()


@torch.no_grad()
def _preserve(site: MultiBranchConv, conv: nn.Conv2d, norm: BatchNorm) -> None:
    """Let the first branch be ``conv`` and ``norm``, and the others add nothing until their weights have moved."""
    for module in site.norms():
        module.weight.zero_()
        module.bias.zero_()
    first = slice(site.out_channels)
    site.conv.weight[first] = conv.weight
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(site.bn, name)[first] = getattr(norm, name)
    assert site.bn.running_mean is not None and site.bn.num_batches_tracked is not None
    if conv.bias is not None:  # it has no effect but on the mean, which the norm takes away again
        site.bn.running_mean[first] -= conv.bias
    if norm.momentum is not None:  # without it the count weighs the statistics, and those of new branches weigh nothing
        site.bn.num_batches_tracked.fill_(int(norm.num_batches_tracked or 0))


def _require_weights(model: nn.Module, pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        if not pair.of(model)[1].affine:
            reason = f"the batch norm '{pair.norm}' has no weight (affine=False) that could silence new branches"
            raise UsageError(f"init=preserve: {reason}; exclude '{pair.conv}', or use init=fresh")


def _can_grow(model: nn.Module, pair: Pair) -> bool:
    conv, norm = pair.of(model)
    trainable = isinstance(norm, (nn.BatchNorm2d, nn.SyncBatchNorm))  # not a FrozenBatchNorm
    return trainable and conv.padding_mode == "zeros"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _listed(patterns))


def _listed(patterns: Iterable[str]) -> Iterable[str]:
    return (patterns,) if isinstance(patterns, str) else patterns
