"""Training strategies, joined by "+". Importing this needs no torch: a mistyped name is answered at once."""

from ghostlab.strategies.registry import RECIPES, STRATEGIES, canonical_name, join, load

__all__ = ["RECIPES", "STRATEGIES", "canonical_name", "join", "load"]
