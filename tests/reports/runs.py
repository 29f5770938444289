"""Fabricated runs and tables, as training leaves them on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ghostlab.runs import config_hash
from ghostlab.studies.plan import Comparison, Plan, Row, Table, compare_rows, write_plan

__all__ = ["config", "planned", "row", "table", "write_run"]

KNOBS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "kd": {"tau": 1.0},
    "cosine": {"warmup_epochs": 1.0},
    "ema": {"decay": 0.9999},
    "mixup": {"alpha": 0.2},
}


def config(strategy: str, seed: int = 0, model: str = "ghostnetv2", **settings: Any) -> dict[str, Any]:
    """A small ``config.yaml``; ``settings`` are top-level keys, and ``knobs`` those of the strategies."""
    knobs = settings.pop("knobs", {})
    strategies = {name: KNOBS[name] | knobs.get(name, {}) for name in strategy.split("+")}
    data = {"name": "digits", "num_classes": 10, "image_size": 24}
    return {"model": {"name": model}, "data": data, "strategy": strategies, "seed": seed, **settings}


def write_run(
    outputs: Path,
    strategy: str,
    seed: int,
    top1: float | None,
    result: Mapping[str, Any] | None = None,
    **settings: Any,
) -> str:
    """A run folder, relative to ``outputs``; ``top1`` None: without ``result.json``, which has ``result`` besides."""
    own = config(strategy, seed, **settings)
    digits = config_hash(own)
    place = f"digits/{own['model']['name']}/{strategy}/seed{seed}-{digits}"
    (outputs / place).mkdir(parents=True)
    (outputs / place / "config.yaml").write_text(yaml.safe_dump(own))
    if top1 is not None:
        figures = {"config_hash": digits, "seed": seed, "top1": top1, "top1_raw": top1, "top1_ema": None}
        costs = {"seconds": 10.0, "peak_memory_mb": 100.0, "device": "cpu, 1 threads", "params_deploy": 1e6}
        whole = {**figures, **costs, "macs_deploy": 2e6, "versions": {"torch": "2.11"}, **(result or {})}
        (outputs / place / "result.json").write_text(json.dumps(whole))
    return place


def row(strategy: str, seeds: int = 3, name: str = "", overrides: Sequence[str] = ()) -> Row:
    """A row of a plan, without runs on disk."""
    return Row(
        name or strategy, strategy, [f"strategy={strategy}", *overrides], "0123abcd", dict.fromkeys(range(seeds), "x")
    )


def table(rows: Sequence[Row], comparisons: Sequence[Comparison] | None = None) -> Table:
    """Rows that are compared with the first one, unless said otherwise."""
    return Table(
        "digits", [], rows, [compare_rows(one, rows[0]) for one in rows[1:]] if comparisons is None else comparisons
    )


def planned(
    folder: Path, top1: Mapping[str, Sequence[float | None]], kind: str = "add_one", **settings: Any
) -> tuple[Path, Plan]:
    """An ablation's folder with its plan and runs: of each strategy the top-1 by seed, None for a run that is not
    there; ``results`` has more of a run's ``result.json`` by (strategy, seed)."""
    results = settings.pop("results", {})
    rows = []
    for name, values in top1.items():
        places = {
            seed: write_run(folder, name, seed, value, results.get((name, seed)), **settings)
            for seed, value in enumerate(values)
        }
        digits = config_hash(config(name, **settings))
        rows.append(Row(name, name, [f"strategy={name}"], digits, places))
    compared = [compare_rows(one, rows[0]) for one in rows[1:]]
    plan = Plan(kind, "python train.py -m", folder, [Table("digits  ghostnetv2", ["data=digits"], rows, compared)])
    write_plan(folder / "ablation/one", plan)
    return folder / "ablation/one", plan
