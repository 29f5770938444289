"""What a study maximises: a run's top-1, or top-1 weighed against the cost of the deployed network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ghostlab.errors import RunError, UsageError
from ghostlab.quantities import is_number
from ghostlab.strategies.checks import one_of, within

__all__ = ["Objective", "tradeoff"]

METRICS = ("top1", "tradeoff")


@dataclass
class Objective:
    """``objective`` in ``conf/config.yaml``; raises ``UsageError`` naming the key that is not allowed.

    ``macs`` is the target T of the trade-off ``top1 * (MACs / T) ** exponent``.
    """

    metric: str = "top1"
    macs: float | None = None
    exponent: float = -0.07

    def __post_init__(self) -> None:
        one_of("objective.metric", self.metric, METRICS)
        within("objective.exponent", self.exponent, "[-1, 0]")
        if self.macs is not None:
            within("objective.macs", self.macs, "(0, inf)")
        elif self.metric == "tradeoff":
            raise UsageError("objective.macs=null: objective.metric=tradeoff needs a target, as in objective.macs=3e8")

    def value(self, result: Mapping[str, Any]) -> float:
        """Of a run's ``result.json``, in percent: larger is better. Raises ``RunError`` for one without the figure."""
        if self.metric == "top1":
            return float(result["top1"])
        assert self.macs is not None
        macs: Any = result.get("macs_deploy")
        if not is_number(macs):
            raise RunError(f"objective.metric=tradeoff: macs_deploy={macs} in the result; force=true trains it anew")
        return tradeoff(result["top1"], macs, self.macs, self.exponent)


def tradeoff(accuracy: float, macs: float, target: float, exponent: float = -0.07) -> float:
    """``accuracy * (macs / target) ** exponent``, in the unit of ``accuracy``: what a search for networks maximises.

    MnasNet (https://arxiv.org/abs/1807.11626), section 3.1; EfficientNet (https://arxiv.org/abs/1905.11946), section 4.
    """
    return accuracy * (macs / target) ** exponent
