"""Networks that a function of the user's makes, named ``<module>:<function>``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from ghostlab.errors import UsageError, nearest
from ghostlab.modules import imported

__all__ = ["custom_model"]

ARGUMENTS = ("num_classes", "in_chans")


def custom_model(name: str, options: dict[str, Any]) -> nn.Module:
    """What the function ``name`` makes of ``options``, ``num_classes`` and ``in_chans`` among them.

    Raises ``UsageError`` for a module or a function that is not there, for one that does not have these arguments
    (it is called for the files of a run as well, and nothing else shall be), and for what is no ``nn.Module``.
    """
    model = _factory(name)(**options)
    if not isinstance(model, nn.Module):
        raise UsageError(f"model '{name}': it makes a {type(model).__name__}, not a torch.nn.Module")
    return model


def _factory(name: str) -> Callable[..., object]:
    module, _, function = name.partition(":")
    found = imported(module, f"model.factory={name}")
    made = getattr(found, function, None)
    if not callable(made):
        known = [one for one, value in vars(found).items() if callable(value) and not one.startswith("_")]
        raise UsageError(f"model.factory={name}: {module} has no function '{function}'{nearest(function, known)}")
    takes = _arguments(made)
    if missing := [one for one in ARGUMENTS if one not in takes]:
        raise UsageError(f"model.factory={name}: it takes no {missing[0]}; it must take {' and '.join(ARGUMENTS)}")
    return made


def _arguments(function: Callable[..., object]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:  # of something written in C
        return []
