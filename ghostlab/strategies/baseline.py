"""Plain training: no strategy at all, the measure of all others."""

from __future__ import annotations

from dataclasses import dataclass

from ghostlab.strategies.base import Strategy

__all__ = ["Baseline"]


@dataclass
class Baseline(Strategy):
    """Changes nothing: cross-entropy, a constant learning rate, crops and flips."""

    name = "baseline"

    def describe(self) -> str:
        return "cross-entropy, constant learning rate"
