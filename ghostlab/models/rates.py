"""The rates of dropout and stochastic depth of a model, changed while it trains."""

from __future__ import annotations

from collections.abc import Mapping

from timm.layers import DropPath
from torch import nn

from ghostlab.errors import UsageError

__all__ = ["DROPOUT", "DROP_PATH", "DropRates"]

DROPOUT, DROP_PATH = "model.drop_rate", "model.drop_path_rate"


class DropRates:
    """Sets the rates of ``model``, which was built with those of ``built``, by the same names.

    Dropout is that of the classifier: ``model.drop_rate``, as timm's models have it, and dropout layers with that rate.
    Of stochastic depth every block keeps its share, so that the model's own rule for deeper blocks stays. Raises
    ``UsageError`` for a rate that the model was built with and has no layer for.
    """

    def __init__(self, model: nn.Module, built: Mapping[str, float]) -> None:
        self.model, self.built = model, dict(built)
        dropout = built.get(DROPOUT, 0.0)
        self._dropouts = [m for m in model.modules() if isinstance(m, nn.Dropout) and dropout and m.p == dropout]
        self._paths = [(m, m.drop_prob) for m in model.modules() if isinstance(m, DropPath) and m.drop_prob]
        self._own = isinstance(getattr(model, "drop_rate", None), float) and bool(dropout)
        for key, found in ((DROPOUT, self._own or self._dropouts), (DROP_PATH, self._paths)):
            if built.get(key) and not found:
                raise UsageError(f"{key}={built[key]}: {type(model).__name__} has no layer whose rate could change")

    def set(self, rates: Mapping[str, float]) -> None:
        """Change the rates that are named; others than the two are of no concern here."""
        if DROPOUT in rates:
            if self._own:
                self.model.drop_rate = rates[DROPOUT]  # type: ignore[assignment]
            for layer in self._dropouts:
                layer.p = rates[DROPOUT]
        if DROP_PATH in rates:
            for path, rate in self._paths:
                path.drop_prob = rate * rates[DROP_PATH] / self.built[DROP_PATH]
