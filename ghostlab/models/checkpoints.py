"""From a weights file, whatever its wrapping, to a plain dictionary of tensors. Nothing in the file is executed."""

from __future__ import annotations

import argparse
import logging
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ghostlab.errors import RunError, UsageError

__all__ = ["read_state_dict", "read_weights", "state_dict_in"]

logger = logging.getLogger(__name__)

AVERAGED = ("state_dict_ema", "model_ema", "ema")
PLAIN = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "model.", "_orig_mod.")
COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Last parts of keys that profilers and weight averaging leave behind; no layer has such a tensor."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a ``.safetensors`` file or in one of ``torch.save`` (``.pth``, ``.pth.tar``, ``.pt``, ``.ckpt``).

    See ``state_dict_in`` for what is taken. Raises ``UsageError`` when there is no such file, and ``RunError`` naming
    the file when it cannot be read or holds no weights.
    """
    return state_dict_in(_read(path), f"'{path}'")


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """As ``read_state_dict``, but the name of the entry that averaged weights were in is returned and not warned of;
    it is empty for other weights."""
    return _weights_in(_read(path), f"'{path}'")


def state_dict_in(content: Any, name: str) -> dict[str, Tensor]:
    """The weights in what a checkpoint called ``name`` contains, which may be the weights themselves.

    Averaged weights are preferred and a warning says so. Counters of profilers are left out, and so are the prefixes
    that wrappers such as DDP or Lightning give to all keys. Raises ``RunError`` when there are no weights.
    """
    weights, averaged = _weights_in(content, name)
    if averaged:
        logger.warning("%s: reading the averaged weights (%s)", name, averaged)
    return weights


def _weights_in(content: Any, name: str) -> tuple[dict[str, Tensor], str]:
    state_dict, wrapper = _unwrap(content)
    if state_dict is None:
        raise RunError(f"{name} holds no weights: {_describe(content)}")
    return _clean(state_dict), wrapper if wrapper in AVERAGED else ""


def _clean(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    cleaned = {key: tensor for key, tensor in state_dict.items() if key.rpartition(".")[2] not in COUNTERS}
    while prefix := next((p for p in PREFIXES if cleaned and all(key.startswith(p) for key in cleaned)), None):
        cleaned = {key.removeprefix(prefix): tensor for key, tensor in cleaned.items()}
    return cleaned


def _read(path: str | Path) -> Any:
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weights file '{path}'")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # Checkpoints of timm, the authors' among them, keep their arguments in a Namespace: an inert class.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign pickles; the error below says it in one line
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        cause = "not a weights file, or one with Python objects besides tensors, which are never loaded"
        raise RunError(f"cannot read weights from '{path}': {cause}") from error
    except Exception as error:  # a broken file can raise anything
        cause = str(error).strip().partition("\n")[0][:120] or "it ends early"
        raise RunError(f"cannot read weights from '{path}', it is damaged or of another kind: {cause}") from error


def _unwrap(content: Any) -> tuple[dict[str, Tensor] | None, str | None]:
    """The dictionary of tensors inside, and the name of the innermost entry it was found under."""
    if not isinstance(content, Mapping):
        return None, None
    for key in (*AVERAGED, *PLAIN):
        if isinstance(content.get(key), Mapping):
            state_dict, inner = _unwrap(content[key])
            if state_dict is not None:
                return state_dict, key if key in AVERAGED else inner or key
    tensors = content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    return (dict(content), None) if tensors else (None, None)


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    return f"its entries are {', '.join(map(str, list(content)[:8])) or 'none'}"
