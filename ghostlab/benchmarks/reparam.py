"""What training with branches costs: whole networks against their plain form, and each shape of layer."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import ghostlab
from ghostlab.benchmarks.chart import draw
from ghostlab.benchmarks.contest import Contestant, Measured, Setting, contest
from ghostlab.benchmarks.layers import LayerCost, layer_costs
from ghostlab.files import write_text

__all__ = ["GROUPS", "reparam"]

OUT = Path("outputs/benchmarks/reparam.json")
GROUPS = ("ghostnetv2", "efficientnet_b0", "mobilenetv2_100", "layers")


def plain(name: str) -> nn.Module:
    """The model as it is deployed, with its batch norms."""
    return ghostlab.create_model(name)


def grown(name: str, branches: int, online: str) -> nn.Module:
    """The model with branches, computed by ``online``."""
    return ghostlab.reparameterize(ghostlab.create_model(name), branches=branches, online=online)


def reparam(groups: Sequence[str], setting: Setting, rounds: int) -> None:
    """Measure ``groups`` and print a table of each; everything is written to ``OUT``."""
    networks: dict[str, dict[str, Measured]] = {}
    result: dict[str, Any] = {"setting": asdict(setting), "rounds": rounds, "torch": torch.__version__}
    for name in groups:
        if name == "layers":
            costs = layer_costs(grown("ghostnetv2", 3, "auto"), setting, rounds)
            result[name] = [cost._asdict() for cost in costs]
            show_layers(costs, setting)
        else:
            measured = networks[name] = contest(contestants(name), setting, rounds)
            result[name] = {key: asdict(value) for key, value in measured.items()}
            show(name, measured, setting)
        write_text(OUT, json.dumps(result, indent=2) + "\n")
    if networks:
        draw(OUT.with_suffix(".png"), str(setting), networks)
    print(f"written to {OUT}" + (f" and {OUT.with_suffix('.png')}" if networks else ""))


def contestants(name: str) -> list[Contestant]:
    """The plain model first; N up to 6 and timm's own GhostNetV3 beside GhostNetV2."""
    counts = range(1, 7) if name == "ghostnetv2" else (3,)
    online = [Contestant(f"N={n}, online", functools.partial(grown, name, n, "auto")) for n in counts]
    timm = [Contestant("timm ghostnetv3_100", functools.partial(plain, "ghostnetv3_100"))]
    return [
        Contestant("plain", functools.partial(plain, name)),
        Contestant("N=3, branches", functools.partial(grown, name, 3, "never")),
        *(timm if name == "ghostnetv2" else []),
        *online,
    ]


def show(name: str, measured: dict[str, Measured], setting: Setting) -> None:
    """Print the table of one model."""
    table = Table(title=f"{name}: a training step on {setting}", title_justify="left")
    for column in ("", "ms", "time", "lowest to highest", "peak memory"):
        table.add_column(column, justify="right" if column else "left")
    memory = next(iter(measured.values())).memory
    for key, one in measured.items():
        spread = f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(key, f"{1e3 * one.seconds:,.0f}", f"{one.ratio:.2f}x", spread, f"{one.memory / memory:.2f}x")
    Console().print(table)


def show_layers(costs: list[LayerCost], setting: Setting) -> None:
    """Print the table of layer shapes."""
    table = Table(title=f"layers of ghostnetv2, N=3: forward and backward on {setting}", title_justify="left")
    for column in ("layer", "sites", "plain, ms", "branches", "online", "auto takes"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for cost in costs:
        ratios = (f"{cost.branches:.2f}x", f"{cost.online:.2f}x")
        table.add_row(cost.layer, str(cost.sites), f"{cost.plain_ms:.2f}", *ratios, cost.path)
    Console().print(table)
