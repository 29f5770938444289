"""Stochastic depth: a residual block is left out for some images of a batch, deeper ones more often.

Huang et al., "Deep Networks with Stochastic Depth", https://arxiv.org/abs/1603.09382. The plain function is
``set_drop_path`` of ``ghostlab.models.ghostnet``, for any model with ``timm.layers.DropPath`` in its blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import DropPath as DropPathLayer
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.models.ghostnet import set_drop_path
from ghostlab.models.options import WEIGHTS, model_arguments
from ghostlab.strategies.base import Strategy, Task
from ghostlab.strategies.checks import within

__all__ = ["DropPath", "drop_path_rates", "set_drop_path"]


def drop_path_rates(model: nn.Module) -> list[float]:
    """The probabilities with which the blocks of ``model`` are left out, from its first module to its last."""
    return [module.drop_prob for module in model.modules() if isinstance(module, DropPathLayer)]


@dataclass
class DropPath(Strategy):
    """Stochastic depth whose rate rises linearly with depth to ``rate``, by the rule that the model itself has for it.

    The same as ``model.drop_path_rate``, so that published recipes keep their meaning: GhostNet reaches ``rate`` at
    its last block, EfficientNet would reach it one block later. A model that has another rate already is refused.
    """

    name = "droppath"
    rate: float = 0.1

    def __post_init__(self) -> None:
        within("strategy.droppath.rate", self.rate, "(0, 1)")
        self._blocks, self._twice = 0, False

    def check(self, config: Mapping[str, Any]) -> None:
        model, knob = config["model"], f"strategy.droppath.rate={self.rate:g}"
        rate, remedy = model.get("drop_path_rate"), "model.drop_path_rate=0 leaves it to the strategy"
        if rate and rate != self.rate:
            raise UsageError(f"{knob}: model.drop_path_rate={rate} is another rate for the same blocks; {remedy}")
        if rate is None and (own := _own_rate(model)):
            raise UsageError(f"{knob}: model '{model['name']}' has rates of its own, up to {own:g}; {remedy}")
        self._twice = rate == self.rate

    def model_options(self) -> dict[str, Any]:
        return {"drop_path_rate": self.rate}

    def change_model(self, model: nn.Module, task: Task) -> nn.Module:
        """Leaves the model as ``model_options`` made it; raises ``UsageError`` if no block of it is ever left out."""
        rates = drop_path_rates(model)
        if not any(rates):
            raise UsageError(f"strategy=droppath: {type(model).__name__} has no residual block that can be left out")
        self._blocks = len(rates)
        return model

    def describe(self) -> str:
        blocks = f" over {self._blocks} blocks" if self._blocks else ""
        return f"rate rising to {self.rate:g}{blocks}" + (", as model.drop_path_rate says, too" if self._twice else "")


def _own_rate(model: Mapping[str, Any]) -> float:
    """The highest rate of a model whose configuration names none; 0 for a model that has none."""
    options = {key: value for key, value in model_arguments(model).items() if key not in (*WEIGHTS, "stem_stride")}
    with torch.device("meta"):
        return max(drop_path_rates(create_model(**options)), default=0.0)
