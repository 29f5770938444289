"""Networks that a function of the user's makes, named ``<module>:<function>``."""

from __future__ import annotations

from typing import Any

from torch import nn

from ghostlab.errors import UsageError
from ghostlab.modules import function

__all__ = ["custom_model"]

ARGUMENTS = ("num_classes", "in_chans")


def custom_model(name: str, options: dict[str, Any]) -> nn.Module:
    """What the function ``name`` makes of ``options``, ``num_classes`` and ``in_chans`` among them.

    Raises ``UsageError`` for a function that is not there or does not take these arguments, and for what is no
    ``nn.Module``.
    """
    model = function(name, "model.factory", ARGUMENTS)(**options)
    if not isinstance(model, nn.Module):
        raise UsageError(f"model '{name}': it makes a {type(model).__name__}, not a torch.nn.Module")
    return model
