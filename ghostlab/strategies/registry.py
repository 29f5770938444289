"""The canonical table of strategies, and joining: names in, one ordered list out.

Nothing here imports torch, so that a mistyped name is answered at once.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghostlab.errors import UsageError, unknown

if TYPE_CHECKING:
    from ghostlab.strategies.base import Strategy

__all__ = ["RECIPES", "STRATEGIES", "StrategyEntry", "canonical_name", "join", "load"]


@dataclass(frozen=True)
class StrategyEntry:
    """Where a strategy lives, and what it occupies: two strategies with the same ``slot`` exclude each other."""

    location: str
    slot: str | None = None


# The order of this table is the order in which strategies are applied.
STRATEGIES: dict[str, StrategyEntry] = {
    "baseline": StrategyEntry("ghostlab.strategies.baseline:Baseline"),
    "progressive": StrategyEntry("ghostlab.strategies.progressive:Progressive"),
    "droppath": StrategyEntry("ghostlab.strategies.droppath:DropPath"),
    "reparam": StrategyEntry("ghostlab.strategies.reparam:Reparam"),
    "randaugment": StrategyEntry("ghostlab.strategies.randaugment:RandAugment", slot="augmentation policy"),
    "autoaugment": StrategyEntry("ghostlab.strategies.autoaugment:AutoAugment", slot="augmentation policy"),
    "erasing": StrategyEntry("ghostlab.strategies.erasing:Erasing"),
    "smoothing": StrategyEntry("ghostlab.strategies.smoothing:Smoothing"),
    "mixup": StrategyEntry("ghostlab.strategies.mixup:Mixup"),
    "cutmix": StrategyEntry("ghostlab.strategies.cutmix:CutMix"),
    "kd": StrategyEntry("ghostlab.strategies.kd:KnowledgeDistillation"),
    "cosine": StrategyEntry("ghostlab.strategies.cosine:Cosine", slot="learning-rate schedule"),
    "step": StrategyEntry("ghostlab.strategies.step:StepDecay", slot="learning-rate schedule"),
    "exponential": StrategyEntry("ghostlab.strategies.exponential:Exponential", slot="learning-rate schedule"),
    "ema": StrategyEntry("ghostlab.strategies.ema:Ema"),
}

RECIPES: dict[str, tuple[str, ...]] = {
    "ghostnetv3": ("reparam", "kd", "cosine", "ema", "randaugment", "erasing"),
}
"""Names that stand for several strategies."""


def join(text: str) -> tuple[str, ...]:
    """The strategies that a "+"-joined text names, recipes expanded, in the order in which they are applied.

    Raises ``UsageError`` for an unknown name, a name given twice and a pair that excludes each other.
    """
    names: list[str] = []
    for part in text.split("+"):
        if part not in STRATEGIES and part not in RECIPES:
            raise UsageError(f"strategy '{text}': {unknown('strategy', part, [*STRATEGIES, *RECIPES])}")
        for name in RECIPES.get(part, (part,)):
            if name in names:
                raise UsageError(f"strategy '{text}': '{name}' is named twice")
            names.append(name)
    _refuse_exclusive(text, names)
    return tuple(name for name in STRATEGIES if name in names)


def canonical_name(names: tuple[str, ...]) -> str:
    """The one name of a set of strategies, whatever their order: recipes first recognised, then sorted and joined."""
    rest = set(names)
    parts = []
    for recipe, members in RECIPES.items():
        if rest >= set(members):
            rest -= set(members)
            parts.append(recipe)
    return "+".join(sorted([*parts, *rest]))


def load(name: str) -> type[Strategy]:
    """The class of a strategy; imports its file."""
    module, _, cls = STRATEGIES[name].location.partition(":")
    return getattr(importlib.import_module(module), cls)


def _refuse_exclusive(text: str, names: list[str]) -> None:
    if "baseline" in names and len(names) > 1:
        raise UsageError(f"strategy '{text}': 'baseline' means no strategy and stands alone")
    taken: dict[str, str] = {}
    for name in names:
        slot = STRATEGIES[name].slot
        if slot and slot in taken:
            raise UsageError(f"strategy '{text}': '{taken[slot]}' and '{name}' exclude each other, both are a {slot}")
        if slot:
            taken[slot] = name
