"""Loading weights into a model: keys of the authors are renamed, what fits is loaded, a failure changes nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ghostlab.errors import RunError
from ghostlab.models.checkpoints import read_state_dict, state_dict_in
from ghostlab.reparam import adopt_layout
from ghostlab.reparam.copying import copy_of

__all__ = ["classifier_name", "from_official", "load_strictly", "load_weights"]

SITES = {"primary": "primary_conv.0", "cheap": "cheap_operation.0", "dw": "conv_dw"}
BRANCH = re.compile(r"(primary|cheap|dw)_rpr_conv\.(\d+)\.(conv|bn1?)\.(\w+)$")
SCALE = re.compile(r"(primary|cheap|dw)_rpr_scale\.(conv|bn1?)\.(\w+)$")
IDENTITY = re.compile(r"(primary|cheap|dw)_rpr_skip\.(\w+)$")

logger = logging.getLogger(__name__)


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> nn.Module:
    """Load weights of the authors, of timm or of this package into ``model``, in place; returns it.

    ``source`` is a file (``.pth``, ``.pth.tar``, ``.pt``, ``.ckpt``, ``.safetensors``) or what such a file
    contains: a state dict, or a dictionary with one. The layout follows it: a model takes weights with branches,
    without, or fused, whatever it had before. When only the number of classes differs the head is initialised again,
    and a warning says so. Raises ``RunError`` listing the keys that do not fit, ``UsageError`` for a missing file; the
    model is then what it was.

        >>> import ghostlab
        >>> trained = ghostlab.reparameterize(ghostlab.create_model("ghostnetv2", num_classes=10, width=0.1))
        >>> fused = ghostlab.fuse(trained)[0].state_dict()
        >>> model = ghostlab.load_weights(ghostlab.create_model("ghostnetv2", num_classes=10, width=0.1), fused)
        >>> sum(type(module).__name__ == "BatchNorm2d" for module in model.modules())
        0
    """
    if isinstance(source, Mapping):
        name, weights = "the state dict", state_dict_in(source, "the state dict")
    else:
        name, weights = f"'{source}'", read_state_dict(source)
    weights = from_official(weights)
    trial = adopt_layout(copy_of(model), weights)
    head = _head_with_other_classes(trial, weights)
    load_strictly(trial, weights, name, head)  # a failure changes nothing
    load_strictly(adopt_layout(model, weights), weights, name, head)
    if head:
        logger.warning("%s has weights for other classes: '%s' is initialised again", name, head)
        if isinstance(layer := model.get_submodule(head), nn.Linear | nn.Conv2d):
            layer.reset_parameters()
    return model


def load_strictly(model: nn.Module, weights: Mapping[str, Tensor], name: str, head: str | None = None) -> None:
    """Load ``weights`` of the model's own layout into it, all but those of the module ``head``, which stays as it is.

    Raises ``RunError``, beginning with the ``name`` of the weights, that lists the keys that do not fit.
    """
    kept = {key: tensor for key, tensor in weights.items() if not (head and key.startswith(f"{head}."))}
    if misfits := _misfits(model.state_dict(), kept, head):
        raise RunError(f"weights from {name} do not fit: {misfits}")
    model.load_state_dict(kept, strict=False)


def classifier_name(model: nn.Module) -> str:
    """Name of the classifier, empty for a model that does not tell."""
    if not callable(get_classifier := getattr(model, "get_classifier", None)):
        return ""
    head = get_classifier()
    return next((name for name, module in model.named_modules() if module is head), "")


def _head_with_other_classes(model: nn.Module, weights: Mapping[str, Tensor]) -> str | None:
    """Name of the classifier if it and that in ``weights`` differ in the number of classes and in nothing else."""
    name = classifier_name(model)
    head = model.get_submodule(name) if name else None
    theirs, ours = weights.get(f"{name}.weight"), getattr(head, "weight", None)
    if theirs is None or (ours is not None and (len(theirs) == len(ours) or theirs.shape[1:] != ours.shape[1:])):
        return None
    return name


def _misfits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], head: str | None) -> str:
    """One line about all keys that do not fit, empty if all do. BN's counters are younger than some checkpoints."""
    ours = {key: tensor for key, tensor in ours.items() if not (head and key.startswith(f"{head}."))}
    missing = [key for key in ours if key not in theirs and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in theirs if key not in ours]
    misshaped = [
        f"{key} {tuple(theirs[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in ours.items()
        if key in theirs and theirs[key].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshaped}
    named = {kind: ", ".join(keys[:3]) + ", ..." * (len(keys) > 3) for kind, keys in kinds.items()}
    return "; ".join(f"{len(keys)} {kind} ({named[kind]})" for kind, keys in kinds.items() if keys)


def from_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of GhostNetV3 by the authors and by timm with this package's keys; all others stay as they are.

    The authors (https://github.com/huawei-noah/Efficient-AI-Backbones, ``ghostnetv3_pytorch``) keep every branch of a
    convolution in a module of its own; here the branches of one convolution are stacked. Their deployed layout, V1 and
    V2 have the same keys as here. Raises ``RunError`` when a branch between others is missing.
    """
    renamed: dict[str, Tensor] = {}
    branches: dict[str, dict[int, Tensor]] = {}
    for key, tensor in state_dict.items():
        if match := BRANCH.search(key):
            stacked = f"{key[: match.start()]}{SITES[match[1]]}.{match[3].rstrip('1')}.{match[4]}"
            branches.setdefault(stacked, {})[int(match[2])] = tensor
        else:
            key = IDENTITY.sub(lambda m: f"{SITES[m[1]]}.identity.{m[2]}", key)
            renamed[SCALE.sub(lambda m: f"{SITES[m[1]]}.scale.{m[2].rstrip('1')}.{m[3]}", key)] = tensor
    return renamed | {key: _stack(key, parts) for key, parts in branches.items()}


def _stack(key: str, parts: Mapping[int, Tensor]) -> Tensor:
    if sorted(parts) != list(range(len(parts))):
        raise RunError(f"weights of branches are missing: '{key}' has branches {sorted(parts)}")
    tensors = [parts[i] for i in range(len(parts))]
    return torch.cat(tensors) if tensors[0].ndim else tensors[0]  # a counter of batches is the same in all branches
