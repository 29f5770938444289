"""Collapsing a trained model: every branch and every batch norm into its convolution, with a proof of equality."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ghostlab.errors import RunError
from ghostlab.private_apis import uncompiled
from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import computing, sites
from ghostlab.reparam.plan import FoldPlan, apply, plan
from ghostlab.reparam.proof import OutputDifference, compare
from ghostlab.reparam.trace import default_input

__all__ = ["TOLERANCE32", "TOLERANCE64", "FuseReport", "NothingToFoldError", "deployed", "fuse"]

logger = logging.getLogger(__name__)

TOLERANCE64, TOLERANCE32 = 1e-9, 1e-4
"""Largest difference allowed between a model and its fused copy, relative to the largest output."""


class NothingToFoldError(RunError):
    """A model without branches and without batch norms that could be folded: it is deployed as it was built."""


@dataclass(frozen=True)
class FuseReport:
    """What ``fuse`` folded, what it left and why, and how far the fused model is from the original."""

    grown: int
    """Multi-branch convolutions folded."""
    branches: int
    """Conv-BN branches in them, without scale and identity branches."""
    scales: int
    identities: int
    plain: int
    """Ordinary Conv-BN pairs folded."""
    left: tuple[tuple[str, str], ...]
    """Name of each norm that stays, and the reason."""
    difference64: float
    """Largest difference of an output in float64, relative to the largest absolute output."""
    difference32: float
    blocks: int = 0
    """Blocks that collapsed by a method of their own, with all that is in them."""
    others: int = 0
    """Batch norms folded into a linear layer, or into the layer after them."""

    def __str__(self) -> str:
        kinds = f"{self.branches} branches, {self.scales} scale, {self.identities} identity"
        folded = f"folded {self.grown + self.plain} convolutions: {self.grown} grown ({kinds}), {self.plain} plain"
        folded += f"; {self.blocks} blocks by their own method" if self.blocks else ""
        folded += f"; {self.others} norms into other layers" if self.others else ""
        difference = f"largest difference {self.difference64:.1e} (float64), {self.difference32:.1e} (float32)"
        return f"{folded}; left as they are: {len(self.left)}\nproof: {difference}"


def fuse(model: nn.Module, example_input: Tensor | None = None) -> tuple[nn.Module, FuseReport]:
    """A copy of ``model`` for deployment, in evaluation mode, with every branch and batch norm folded, and a report.

    Blocks with a method of their own for it (``collapsible``) are collapsed by it. Multi-branch convolutions and all
    other pairs of ``find_pairs`` become biased convolutions that compute what the model computes in evaluation. Batch
    norms after a linear layer, or before a linear layer or an unpadded convolution, become part of that layer. All is
    computed in float64 and keeps dtype and device; what is new is trainable. ``model`` stays as it is.
    ``example_input`` (B, C, H, W) is only needed where the default of ``find_pairs`` does not fit.

    Raises ``NothingToFoldError``, and ``RunError`` when the outputs of the two differ on random images, with the
    model's own values or with random batch-norm weights and statistics: by more than ``TOLERANCE64`` in float64, or in
    float32 by more than ``TOLERANCE32`` and ten times what rounding to float32 does to the model itself.

        >>> import timm, ghostlab
        >>> fused, report = ghostlab.fuse(ghostlab.reparameterize(timm.create_model("test_resnet"), branches=3))
        >>> report.grown, report.branches, report.left, report.difference64 < 1e-9
        (15, 45, (), True)
    """
    model = uncompiled(model)
    images = default_input(model) if example_input is None else example_input
    found, grown = _plan(model, images), sites(model)
    shape = (max(2, len(images)), *images.shape[1:])  # two, so that each channel has a variance on a 1x1 map
    with computing(model, "never"):  # proven against the branches themselves
        proof = compare(model, lambda copied: apply(copied, found), shape)
    for comparison in proof:
        _check(comparison)
    for name, reason in found.left:
        logger.warning("%s is not folded: %s", name, reason)
    return apply(copy_of(model).eval(), found), _report(found, grown, proof)


def deployed(model: nn.Module, example_input: Tensor | None = None) -> nn.Module:
    """A copy of ``model`` in the layout that ``fuse`` gives it, not proven and in the modes of ``model``.

    For a model whose values do not matter: it takes the state dict of a fused one. Raises ``NothingToFoldError``.
    """
    images = default_input(model) if example_input is None else example_input
    return apply(copy_of(model), _plan(model, images))


def _plan(model: nn.Module, images: Tensor) -> FoldPlan:
    found = plan(model, images)
    if not found and not sites(model):
        raise NothingToFoldError(
            f"nothing to fold: {type(model).__name__} has no branches and no batch norm after a convolution"
        )
    return found


def _report(found: FoldPlan, grown: Mapping[str, MultiBranchConv], proof: list[OutputDifference]) -> FuseReport:
    return FuseReport(
        grown=len(grown),
        branches=sum(site.branches for site in grown.values()),
        scales=sum(site.scale is not None for site in grown.values()),
        identities=sum(site.identity is not None for site in grown.values()),
        plain=sum(pair.conv not in grown for pair in found.norms.pairs),
        left=found.left,
        difference64=max(comparison.float64 for comparison in proof),
        difference32=max(comparison.float32 for comparison in proof),
        blocks=len(found.blocks),
        others=len(found.norms.after_linear) + len(found.norms.before),
    )


def _check(found: OutputDifference) -> None:
    differs = "the fused model differs from the original by {:.1e} of its largest output in {} (allowed: {:.0e})"
    if not found.float64 <= TOLERANCE64:
        raise RunError(differs.format(found.float64, "float64", TOLERANCE64))
    if not found.float32 <= max(TOLERANCE32, 10 * found.rounding):
        raise RunError(differs.format(found.float32, "float32", TOLERANCE32))
    if found.float32 > TOLERANCE32:
        unstable = (
            "the model is unstable in float32: rounding changes its outputs by %.1e of the largest, fusing by %.1e"
        )
        logger.warning(unstable, found.rounding, found.float32)
