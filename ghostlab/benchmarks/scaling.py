"""One network scaled: what becomes of its stages, parameters and MACs, and the command that trains it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import itemgetter
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.models import Counts, count, create_model
from ghostlab.models.meta_device import NetworkStage, network_stages
from ghostlab.models.options import model_arguments
from ghostlab.models.scaling import ALPHA, BETA, GAMMA, Factors, compound, official, round_resolution
from ghostlab.runs import compose
from ghostlab.runs.identity import named_overrides, to_plain_dict
from ghostlab.shell import command
from ghostlab.tables import Column, terminal_table

__all__ = ["Scaled", "factors_of_arguments", "print_scaled", "scale_model"]

UNSCALED = Factors()
COLUMNS: tuple[Column[tuple[str, ...]], ...] = (
    Column("name", get=itemgetter(0), align="left"),
    Column("before", "as it is", itemgetter(1)),
    Column("after", "scaled", itemgetter(2)),
    Column("ratio", get=itemgetter(3)),
)
BASES = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA}


@dataclass(frozen=True)
class Scaled:
    """A network of certain factors; ``counts`` and ``stages`` are those at ``test`` pixels."""

    width: float
    depth: float
    train: int
    test: int
    counts: Counts
    megabytes: float
    stages: list[NetworkStage]


def factors_of_arguments(arguments: Mapping[str, Any]) -> Factors:
    """The factors that a command line asks for: by phi, with the paper's, official or own bases, or one by one.

    Raises ``UsageError`` for a factor that is not above 0 and for what excludes each other.
    """
    alone = {key: arguments[key] for key in UNSCALED._fields if arguments[key] is not None}
    bases = {key: arguments[key] for key in BASES if arguments[key] is not None}
    phi = arguments["phi"]
    for key, value in {**alone, **bases}.items():
        if not 0 < value < math.inf:
            raise UsageError(f"--{key} {value:g}: must be above 0")
    if phi is None and (bases or arguments["official"]):
        raise UsageError(f"--{next(iter(bases), 'official')}: needs --phi, whose factors it sets")
    if phi is None:
        return Factors(**alone)
    if alone:
        raise UsageError(f"--phi {phi:g} and --{next(iter(alone))}: phi sets all three factors; give one or the other")
    if bases and arguments["official"]:
        raise UsageError(f"--official and --{next(iter(bases))}: official factors are no powers of a base")
    return official(phi) if arguments["official"] else compound(phi, **{**BASES, **bases})


def scale_model(cfg: DictConfig, factors: Factors = UNSCALED, multiple: int = 1) -> Scaled:
    """The model of a composed configuration, ``factors`` times as deep, wide and large as the configuration says.

    Raises ``UsageError`` for an unknown model and for one that cannot be scaled.
    """
    node = {**model_arguments(to_plain_dict(cfg.model)), "pretrained": False}
    width, depth = (_as_printed(node.pop(key, 1.0) * getattr(factors, key)) for key in ("width", "depth"))
    train = round_resolution(cfg.data.image_size, factors.resolution, multiple)
    test = round_resolution(cfg.data.test_size or cfg.data.image_size, factors.resolution, multiple)
    with torch.device("meta"):
        model = create_model(**node, num_classes=cfg.data.num_classes or 1000, width=width, depth=depth)
    return Scaled(width, depth, train, test, count(model, test), _megabytes(model), network_stages(model, test))


def print_scaled(name: str, factors: Factors, multiple: int, overrides: Sequence[str]) -> None:
    """Print the model as it is and scaled, stage by stage, and the command line that trains the scaled one."""
    data = [] if any(text.startswith("data=") for text in overrides) else ["data=imagenet"]
    chosen = [*named_overrides("model", name), *data, *overrides]
    cfg = compose(chosen)
    before, after = scale_model(cfg, multiple=1), scale_model(cfg, factors, multiple)
    print(f"{name}: " + ", ".join(f"{key} x{value:.5g}" for key, value in factors._asdict().items()))
    Console().print(_table(before, after))
    print(_command(cfg, chosen, after))


def _as_printed(factor: float) -> float:
    """The factor as the command line prints it, so that it trains the very network that was counted."""
    return float(f"{factor:.10g}")


def _megabytes(model: nn.Module) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 1e6


def _table(before: Scaled, after: Scaled) -> Table:
    counts = (
        ("parameters", before.counts.params, after.counts.params),
        ("MACs", before.counts.macs, after.counts.macs),
    )
    rows = [
        *((label, f"{old:,}", f"{new:,}", f"x{new / old:.2f}") for label, old, new in counts),
        ("weights", f"{before.megabytes:.1f} MB", f"{after.megabytes:.1f} MB", ""),
        ("images, training", f"{before.train} px", f"{after.train} px", ""),
        ("images, validation", f"{before.test} px", f"{after.test} px", ""),
        *(
            (f"stage {index}: blocks", _stage(old), _stage(new), "")
            for index, (old, new) in enumerate(zip_longest(before.stages, after.stages), 1)
        ),
    ]
    return terminal_table(COLUMNS, rows, box=None)


def _stage(stage: NetworkStage | None) -> str:
    return "" if stage is None else f"{stage.blocks} x {stage.channels} ch, {stage.size} px"


def _command(cfg: DictConfig, chosen: Sequence[str], after: Scaled) -> str:
    values = {"model.width": after.width, "model.depth": after.depth, "data.image_size": after.train}
    if after.test != after.train:
        values["data.test_size"] = after.test
    kept = [text for text in chosen if text.partition("=")[0] not in values]
    root = ["data.root=<folder>"] if to_plain_dict(cfg.data)["root"] == "???" else []
    factors = [f"{key}={value:.10g}" for key, value in values.items() if value != 1]
    return " ".join([command("train.py", *kept), *root, *factors])
