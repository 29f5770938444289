"""What training with branches costs: whole networks against their plain form, and each shape of layer."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import nn

import ghostlab
from ghostlab.benchmarks.contest import Contestant, Setting, StepCost, contest
from ghostlab.benchmarks.layers import LayerCost, layer_costs
from ghostlab.files import write_file, write_text
from ghostlab.quantities import ratio
from ghostlab.tables import Column, terminal_table

__all__ = ["GROUPS", "reparam"]

REPARAM_FILE = Path("outputs/benchmarks/reparam.json")
GROUPS = ("ghostnetv2", "efficientnet_b0", "mobilenetv2_100", "layers")
COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("name", align="left"),
    Column("seconds", "ms", show=lambda seconds: f"{1e3 * seconds:,.0f}"),
    Column("ratio", "time", show=ratio),
    Column("low", "lowest to highest", cell=lambda row: f"{row['low']:.2f} to {row['high']:.2f}"),
    Column("memory_ratio", "peak memory", show=ratio),
)
LAYER_COLUMNS: tuple[Column[LayerCost], ...] = (
    Column("layer", "layer", align="left"),
    Column("sites", "sites"),
    Column("plain_ms", "plain, ms", show="{:.2f}".format),
    Column("branches", "branches", show=ratio),
    Column("online", "online", show=ratio),
    Column("path", "auto takes"),
)


def plain_model(name: str) -> nn.Module:
    """The model as it is deployed, with its batch norms."""
    return ghostlab.create_model(name)


def reparameterized_model(name: str, branches: int, online: str) -> nn.Module:
    """The model with branches, computed by ``online``."""
    return ghostlab.reparameterize(ghostlab.create_model(name), branches=branches, online=online)


def reparam(groups: Sequence[str], setting: Setting, rounds: int) -> None:
    """Measure ``groups`` and print a table of each; everything is written to ``REPARAM_FILE``."""
    networks: dict[str, dict[str, StepCost]] = {}
    result: dict[str, Any] = {"setting": asdict(setting), "rounds": rounds, "torch": torch.__version__}
    for name in groups:
        if name == "layers":
            costs = layer_costs(reparameterized_model("ghostnetv2", 3, "auto"), setting, rounds)
            result[name] = [cost._asdict() for cost in costs]
            title = f"layers of ghostnetv2, N=3: forward and backward on {setting}"
            Console().print(terminal_table(LAYER_COLUMNS, costs, title))
        else:
            measured = networks[name] = contest(contestants(name), setting, rounds)
            result[name] = {key: asdict(value) for key, value in measured.items()}
            title = f"{name}: a training step on {setting}"
            Console().print(terminal_table(COLUMNS, _table_rows(measured), title))
        write_text(REPARAM_FILE, json.dumps(result, indent=2) + "\n")
    if networks:
        _draw(REPARAM_FILE.with_suffix(".png"), str(setting), networks)
    print(f"written to {REPARAM_FILE}" + (f" and {REPARAM_FILE.with_suffix('.png')}" if networks else ""))


def contestants(name: str) -> list[Contestant]:
    """The plain model first; N up to 6 and timm's own GhostNetV3 beside GhostNetV2."""
    counts = range(1, 7) if name == "ghostnetv2" else (3,)
    online = [Contestant(f"N={n}, online", functools.partial(reparameterized_model, name, n, "auto")) for n in counts]
    timm = [Contestant("timm ghostnetv3_100", functools.partial(plain_model, "ghostnetv3_100"))]
    return [
        Contestant("plain", functools.partial(plain_model, name)),
        Contestant("N=3, branches", functools.partial(reparameterized_model, name, 3, "never")),
        *(timm if name == "ghostnetv2" else []),
        *online,
    ]


def _table_rows(measured: Mapping[str, StepCost]) -> list[dict[str, Any]]:
    memory = next(iter(measured.values())).memory
    return [{"name": name, **asdict(one), "memory_ratio": one.memory / memory} for name, one in measured.items()]


def _draw(path: Path, title: str, groups: Mapping[str, Mapping[str, StepCost]]) -> None:
    """One panel a group: the time of every contestant as a ratio to the first, with its lowest and highest round."""
    heights = [len(measured) for measured in groups.values()]
    figure = Figure(figsize=(8, 1 + 0.36 * sum(heights) + 0.5 * len(heights)), layout="constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, (name, measured) in zip(panels, groups.items(), strict=True):
        values = list(measured.values())
        ratios = [one.ratio for one in values]
        spread = [[one.ratio - one.low for one in values], [one.high - one.ratio for one in values]]
        colors = ["tab:green" if "online" in key else "tab:gray" for key in measured]
        bars = panel.barh(list(measured), ratios, xerr=spread, color=colors, ecolor="black", capsize=2)
        panel.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=8)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_title(name, loc="left", fontsize=10)
        panel.invert_yaxis()
        panel.margins(x=0.1)
    panels[-1].set_xlabel("time of a training step, as a ratio to the plain network")
    figure.suptitle(title, fontsize=10)
    write_file(path, lambda to: figure.savefig(to, dpi=120))
