"""A fused network on disk: its weights in ``fused.safetensors``, all that is needed to use them in ``fused.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ghostlab.files import write_files
from ghostlab.models import Counts
from ghostlab.models.options import model_arguments
from ghostlab.reparam import FuseReport, NothingToFoldError, fuse

__all__ = ["Accuracy", "folded", "write_fused"]


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent on ``images`` validation images, before and after fusing."""

    before: float
    after: float
    images: int


def folded(model: nn.Module, images: Tensor) -> tuple[nn.Module, FuseReport | None]:
    """What ``fuse`` makes of ``model``, given images (B, 3, H, W); the model itself and None where nothing folds.

    Both are in evaluation mode. Raises ``RunError`` when the proof fails.
    """
    try:
        fused, report = fuse(model, example_input=images)
    except NothingToFoldError:
        return model.eval(), None
    return fused.eval(), report


def write_fused(
    folder: Path,
    model: nn.Module,
    report: FuseReport | None,
    counts: tuple[Counts, Counts],
    config: dict[str, Any],
    preprocessing: dict[str, Any],
    accuracy: Accuracy | None,
) -> Path:
    """Write both files, or none, and return the weights' path; ``counts`` are those before and after.

    Without a ``report`` nothing was folded, and the network has the layout that it was trained in. Raises
    ``WriteError`` where there is no room or no permission.

    ``config`` is the run's: its ``model`` node says how to build the network that takes the weights, with
    ``ghostlab.create_model`` and ``ghostlab.load_weights``.
    """
    weights = folder / "fused.safetensors"
    tensors = {name: _apart(tensor) for name, tensor in model.state_dict().items()}
    description = {
        "format": "ghostlab-fused-1",
        "weights": weights.name,
        "model": {key: value for key, value in model_arguments(config["model"]).items() if key != "pretrained"},
        "num_classes": config["data"]["num_classes"],
        "class_names": config["data"].get("class_names"),
        "preprocessing": preprocessing,
        "folded": asdict(report) if report else None,
        "before": counts[0]._asdict(),
        "after": counts[1]._asdict(),
        "accuracy": asdict(accuracy) if accuracy else None,
    }
    text = json.dumps(description, indent=2) + "\n"
    write_files(
        {
            weights: lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}),
            folder / "fused.json": lambda temporary: temporary.write_text(text, encoding="utf-8"),
        }
    )
    return weights


def _apart(tensor: Tensor) -> Tensor:
    """In memory of its own, as safetensors wants it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
