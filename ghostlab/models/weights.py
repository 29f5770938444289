"""Loading weights into a model: what fits is loaded, what does not is said, and a failure changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ghostlab.errors import RunError
from ghostlab.models.checkpoints import read_state_dict, state_dict_in
from ghostlab.models.official import from_official
from ghostlab.reparam import adopt_layout
from ghostlab.reparam.copying import copy_of

__all__ = ["head_of", "load_weights", "put"]

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
    put(trial, weights, name, head)  # a failure changes nothing
    put(adopt_layout(model, weights), weights, name, head)
    if head:
        logger.warning("%s has weights for other classes: '%s' is initialised again", name, head)
        _initialise(model.get_submodule(head))
    return model


def put(model: nn.Module, weights: Mapping[str, Tensor], name: str, head: str | None = None) -> None:
    """Load ``weights`` of the model's own layout into it, all but those of the module ``head``, which stays as it is.

    Raises ``RunError``, beginning with the ``name`` of the weights, that lists the keys that do not fit.
    """
    kept = {key: tensor for key, tensor in weights.items() if not (head and key.startswith(f"{head}."))}
    if misfits := _misfits(model.state_dict(), kept, head):
        raise RunError(f"weights from {name} do not fit: {misfits}")
    model.load_state_dict(kept, strict=False)


def head_of(model: nn.Module) -> str:
    """Name of the classifier, empty for a model that does not tell."""
    if not callable(get_classifier := getattr(model, "get_classifier", None)):
        return ""
    head = get_classifier()
    return next((name for name, module in model.named_modules() if module is head), "")


def _head_with_other_classes(model: nn.Module, weights: Mapping[str, Tensor]) -> str | None:
    """Name of the classifier if it and that in ``weights`` differ in the number of classes and in nothing else."""
    name = head_of(model)
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
    return "; ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys)


def _some(keys: list[str], limit: int = 3) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")


def _initialise(head: nn.Module) -> None:
    if isinstance(head, nn.Linear | nn.Conv2d):
        head.reset_parameters()
