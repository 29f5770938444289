"""A fused network on disk: its weights in ``fused.safetensors``, all that is needed to use them in ``fused.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ghostlab.files import write_file, write_text
from ghostlab.models import Counts
from ghostlab.models.options import given
from ghostlab.reparam import FuseReport

__all__ = ["Accuracy", "write_fused"]


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent on ``images`` validation images, before and after fusing."""

    before: float
    after: float
    images: int


def write_fused(
    folder: Path,
    model: nn.Module,
    report: FuseReport,
    counts: tuple[Counts, Counts],
    config: dict[str, Any],
    preprocessing: dict[str, Any],
    accuracy: Accuracy | None,
) -> Path:
    """Write both files and return the weights' path; ``counts`` are those before and after.

    ``config`` is the run's: its ``model`` node says how to build the network that takes the weights, with
    ``ghostlab.create_model`` and ``ghostlab.load_weights``.
    """
    weights = folder / "fused.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_file(weights, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))
    description = {
        "format": "ghostlab-fused-1",
        "weights": weights.name,
        "model": {key: value for key, value in given(config["model"]).items() if key != "pretrained"},
        "num_classes": config["data"]["num_classes"],
        "class_names": config["data"].get("class_names"),
        "preprocessing": preprocessing,
        "folded": asdict(report),
        "before": counts[0]._asdict(),
        "after": counts[1]._asdict(),
        "accuracy": asdict(accuracy) if accuracy else None,
    }
    write_text(folder / "fused.json", json.dumps(description, indent=2) + "\n")
    return weights
