"""Turning the Conv-BN pairs of a model into multi-branch convolutions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.norms import NormPlace
from ghostlab.reparam.pairs import Pair, find_pairs

__all__ = ["grow_pair", "reparameterize"]

logger = logging.getLogger(__name__)


def reparameterize(
    model: nn.Module,
    branches: int = 3,
    scale: bool = True,
    identity: bool = True,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    example_input: Tensor | None = None,
) -> nn.Module:
    """Give the Conv-BN pairs of ``model`` ``branches`` parallel Conv-BN branches each; in place, and returned.

    ``scale`` and ``identity`` add a 1x1 and a bare batch-norm branch where they are one tap of the kernel. The branches
    start with fresh weights. ``include`` and ``exclude`` are patterns (``fnmatch``) of convolution names; without
    ``include`` the model's own rule ``reparam_include`` holds if it has one, else every pair of ``find_pairs`` grows.

    Raises ``UsageError`` for ``branches`` below 1 and when no pair is eligible.
    """
    if not isinstance(branches, int) or branches < 1:
        raise UsageError(f"branches={branches}: must be a whole number of at least 1")
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
    for pair in chosen:
        grow_pair(model, pair, branches, scale, identity)
    logger.info("grew %d of %d Conv-BN pairs to %d branches", len(chosen), len(eligible), branches)
    return model


def grow_pair(model: nn.Module, pair: Pair, branches: int, scale: bool, identity: bool) -> None:
    """Replace one pair of ``model`` by a multi-branch convolution and the place of the norm; in place."""
    conv, norm = pair.of(model)
    model.set_submodule(pair.conv, MultiBranchConv.from_conv(conv, norm, branches, scale, identity))
    model.set_submodule(pair.norm, NormPlace(norm))


def _can_grow(model: nn.Module, pair: Pair) -> bool:
    conv, norm = pair.of(model)
    trainable = isinstance(norm, (nn.BatchNorm2d, nn.SyncBatchNorm))  # not a FrozenBatchNorm
    return trainable and conv.padding_mode == "zeros"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _listed(patterns))


def _listed(patterns: Iterable[str]) -> Iterable[str]:
    return (patterns,) if isinstance(patterns, str) else patterns
