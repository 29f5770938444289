"""A network ready to be deployed: folded where it can be, and described by plain values that travel with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ghostlab.data import DataConfig
from ghostlab.deploy.run_data import data_module
from ghostlab.errors import RunError, UsageError
from ghostlab.files import write_files
from ghostlab.models import Counts, create_model, load_weights
from ghostlab.models.options import model_arguments
from ghostlab.reparam import FuseReport, NothingToFoldError, deployed, fuse
from ghostlab.runs.run import Run, find_run, open_run

__all__ = ["Accuracy", "Description", "Network", "fold", "open_network", "top1_of_fused", "write_fused"]

DEFAULT_OPTIONS = {"width": 1.0, "depth": 1.0, "stem_stride": 2, "gate_upsample": "nearest"}
NOT_DEPLOYED = ("name", "pretrained", "num_classes", "drop_rate", "drop_path_rate", "bn_momentum", "bn_eps")
"""Options of a model that do not change the network that is deployed."""
PREPROCESSING = ("input_size", "mean", "std", "interpolation", "crop_pct")


@dataclass(frozen=True)
class Description:
    """What a deployed network is, what it takes and what it answers."""

    architecture: str
    """Such as "ghostnetv2 width=0.35"."""
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    """``input_size`` [3, H, W], ``mean``, ``std``, ``interpolation`` and ``crop_pct``, as timm names them."""

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.preprocessing["input_size"][-1])

    def text(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | None, file: str | Path) -> Description:
        """What ``text`` made; ``RunError`` naming ``file`` for anything else."""
        try:
            values = json.loads(text or "")
            names = values["class_names"]
            found = {key: values["preprocessing"][key] for key in PREPROCESSING}
            if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
                raise ValueError("no class names")
            DataConfig("imagefolder", root=".", **_fields(found))  # checks every value
            return cls(str(values["architecture"]), tuple(names), found)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise RunError(f"{file}: no description of a network of this package in it ({cause})") from error


@dataclass(frozen=True)
class Network:
    """A ``model`` in evaluation mode, on the CPU, in float32; its ``run`` and that one's ``data`` node if these are
    known."""

    model: nn.Module
    description: Description
    data: dict[str, Any] | None
    run: Run | None = None
    folded: bool = True
    """Whether its branches and batch norms are folded; one that has none is as it was built."""

    @property
    def example(self) -> torch.Tensor:
        """Random images (2, 3, H, W) of the size that the network is for; always the same."""
        size = self.description.image_size
        return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def open_network(source: str | Path) -> Network:
    """A run folder or a checkpoint in one, which is folded with proof, or what ``tools/fuse.py`` wrote: either file.

    A network in which there is nothing to fold stays as it was built.

    Raises ``UsageError`` for what is none of these, and ``RunError`` for damaged files and proofs that fail.
    """
    path = Path(source)
    if path.is_file() and path.name.startswith("fused."):
        return _of_fused(path.with_suffix(".json"))
    run = find_run(path)
    if run is None:
        raise UsageError(f"'{source}': neither a run folder, nor a checkpoint in one, nor a fused.safetensors")
    model, config = open_run(path)
    preprocessing = data_module(config["data"], run).cfg.preprocessing()
    size = preprocessing["input_size"][-1]
    model, report = fold(model, torch.zeros(2, 3, size, size))
    described = _description(config["model"], config["data"], preprocessing)
    return Network(model, described, config["data"], run, report is not None)


def top1_of_fused(path: Path) -> float | None:
    """The top-1 in percent that ``tools/fuse.py`` measured of a file that it wrote; None where it did not."""
    try:
        return float(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["accuracy"]["after"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_fused(file: Path) -> Network:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        node, data = found["model"], {"num_classes": found["num_classes"], "class_names": found["class_names"]}
        weights, preprocessing = file.parent / Path(found["weights"]).name, found["preprocessing"]
        if "checkpoint_path" in node:  # which timm would read
            raise ValueError("model.checkpoint_path")
        is_folded = found["folded"] is not None
        options = {**node, "num_classes": found["num_classes"], "pretrained": False}
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{file}: not what tools/fuse.py wrote ({cause})") from error
    description = Description.parse(_description(node, data, preprocessing).text(), file)
    model = create_model(**options)
    if is_folded:
        model = deployed(model, torch.zeros(2, 3, description.image_size, description.image_size))
    model = load_weights(model, weights).eval()
    run = find_run(file)
    return Network(model, description, run.config()["data"] if run else None, run, is_folded)


def _description(model: Mapping[str, Any], data: Mapping[str, Any], preprocessing: dict[str, Any]) -> Description:
    options = {key: value for key, value in model_arguments(model).items() if value != DEFAULT_OPTIONS.get(key)}
    shown = [f"{key}={value}" for key, value in options.items() if key not in NOT_DEPLOYED]
    names = data.get("class_names") or range(data["num_classes"])
    return Description(" ".join([model["name"], *shown]), tuple(map(str, names)), preprocessing)


def _fields(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """As fields of ``DataConfig``."""
    channels, height, width = preprocessing["input_size"]
    if channels != 3 or height != width or not isinstance(height, int):
        raise ValueError(f"input_size {preprocessing['input_size']}")
    return {"image_size": height, **{key: preprocessing[key] for key in PREPROCESSING[1:]}}


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent on ``images`` validation images, before and after fusing."""

    before: float
    after: float
    images: int


def fold(model: nn.Module, images: Tensor) -> tuple[nn.Module, FuseReport | None]:
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
            # save_file would let nobody else read it.
            weights: lambda temporary: temporary.write_bytes(save(tensors, metadata={"format": "pt"})),
            folder / "fused.json": lambda temporary: temporary.write_text(text, encoding="utf-8"),
        }
    )
    return weights


def _apart(tensor: Tensor) -> Tensor:
    """In memory of its own, as safetensors wants it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
