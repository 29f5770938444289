"""What there is to fold in a model, found once and then applied to it or to its copies."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ghostlab.reparam.blocks import collapse, collapse_all, collapsible
from ghostlab.reparam.copying import copy_of
from ghostlab.reparam.fold import fold_norms, fold_sites, plain, sites
from ghostlab.reparam.pairs import Pair, Survey, survey

__all__ = ["FoldPlan", "apply", "grown_pairs", "plan"]


@dataclass(frozen=True)
class FoldPlan:
    """What is folded, in this order: blocks with a method of their own, batch norms, the other branches."""

    blocks: tuple[str, ...]
    grown: dict[str, Pair]
    """The multi-branch convolutions inside blocks, with the places of their norms."""
    norms: Survey
    left: tuple[tuple[str, str], ...]
    """Name of each norm that stays, and the reason."""

    def __bool__(self) -> bool:
        return bool(self.blocks or self.norms.pairs or self.norms.after_linear or self.norms.before)


def plan(model: nn.Module, example_input: Tensor | None = None) -> FoldPlan:
    """What there is to fold in ``model``, which stays as it is; it runs once, as in ``find_pairs``."""
    copied = copy_of(model)
    grown = grown_pairs(copied, example_input)
    blocks, failed = collapse_all(copied, grown)
    fold_sites(copied)  # what is left of one whose norm follows the sum of its branches is a pair
    norms = survey(copied, example_input)
    return FoldPlan(
        tuple(blocks), grown, norms, tuple((name, _why(name, reason, failed)) for name, reason in norms.left)
    )


def apply(model: nn.Module, planned: FoldPlan) -> nn.Module:
    """Fold in ``model``, or in a copy of it in any precision, what ``planned`` lists; in place, and returned."""
    collapse(model, planned.blocks, planned.grown)
    fold_norms(model, planned.norms)
    fold_sites(model)
    return model


def grown_pairs(model: nn.Module, example_input: Tensor | None) -> dict[str, Pair]:
    """Every multi-branch convolution inside of a collapsible block, with the place of its norm."""
    blocks = tuple(f"{name}." for name in collapsible(model))
    inside = [name for name in sites(model) if name.startswith(blocks)]
    if not inside:
        return {}
    pairs = survey(plain(copy_of(model)), example_input).pairs
    return {pair.conv: pair for pair in pairs if pair.conv in inside}


def _why(name: str, reason: str, failed: dict[str, str]) -> str:
    """The reason why the norm ``name`` stays, with that of the innermost block around it that failed."""
    around = [block for block in failed if name.startswith(f"{block}.")]
    return f"{reason}; {failed[around[-1]]}" if around else reason
