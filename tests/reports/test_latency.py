"""The deployed networks of an ablation, each measured once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest import param

from ghostlab.benchmarks import timing
from ghostlab.benchmarks.deployables import Deployable
from ghostlab.benchmarks.timing import Conditions, Times, TimingRow
from ghostlab.errors import RunError
from ghostlab.reports.latency import measure_latencies, network_of, read_latencies
from ghostlab.reports.summarize import summarize
from tests.reports.runs import planned

TOP1: dict[str, list[float | None]] = {"baseline": [50.0, 51.0], "kd": [60.0, 61.0], "ema": [50.0, None]}


def measured(contestants: Sequence[Deployable], conditions: Conditions) -> list[TimingRow]:
    """In place of minutes of measuring: as many milliseconds as the contestant's place."""
    assert conditions.batches == (1,)
    times = [Times(1, [], 0, k / 1e3, 0, 0, 1, 1, 1) for k in range(1, len(contestants) + 1)]
    return [
        TimingRow(one.name, "eager", 1, "lean", 32, 1, 1, 0, 0, [own])
        for one, own in zip(contestants, times, strict=True)
    ]


def test_each_network_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "measure", measured)
    folder, plan = planned(tmp_path, TOP1, results={("kd", seed): {"macs_deploy": 3e6} for seed in (0, 1)})
    rows = {row.name: row.runs for row in plan.tables[0].rows}
    for place in (rows["baseline"][1], rows["kd"][0], rows["ema"][0]):
        (tmp_path / place / "checkpoints").mkdir()
        (tmp_path / place / "checkpoints/last.ckpt").touch()
    measure_latencies(summarize(folder))
    kept = json.loads((folder / "latency.json").read_text())
    assert [one["median_ms"] for one in kept.values()] == [1, 2]
    assert all(name.startswith("ghostnetv2 at 24 px, ") for name in kept)
    assert (folder / next(iter(kept.values()))["run"]).resolve() == tmp_path / rows["baseline"][1]
    lines = {line.name: line.latency_ms for line in summarize(folder).sections[0].lines}
    assert lines == {"baseline": 1, "kd": 2, "ema": 1}


@pytest.mark.parametrize(
    ("changed", "networks"),
    [
        param({"model": {"gate_upsample": "bilinear"}}, 2, id="another operation with as many parameters and MACs"),
        param({"data": {"test_size": 28}}, 2, id="another size"),
        param({"data": {"num_classes": 11}}, 2, id="other classes"),
        param({"model": {"pretrained": True, "native": {"train": 224}}}, 1, id="other weights of the same network"),
        param({"model": {"gate_upsample": None}}, 1, id="an option that is left to the model"),
    ],
)
def test_networks_that_differ_in_anything_share_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, dict[str, Any]], networks: int
) -> None:
    monkeypatch.setattr(timing, "measure", measured)
    folder, plan = planned(tmp_path, {"baseline": [50.0], "kd": [60.0]})
    for row in plan.tables[0].rows:
        run = tmp_path / row.runs[0]
        (run / "checkpoints").mkdir()
        (run / "checkpoints/last.ckpt").touch()
        if row.name == "kd":
            config = yaml.safe_load((run / "config.yaml").read_text())
            for group, values in changed.items():
                config[group] |= values
            (run / "config.yaml").write_text(yaml.safe_dump(config))
    measure_latencies(summarize(folder))
    assert len(json.loads((folder / "latency.json").read_text())) == networks
    lines = [line.latency_ms for line in summarize(folder).sections[0].lines]
    assert lines == [1, networks]


def test_without_checkpoints_nothing_can_be_measured(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run here has a checkpoint to measure"):
        measure_latencies(summarize(planned(tmp_path, TOP1)[0]))


@pytest.mark.parametrize("text", ["", "[1]", '{"NETWORK": 3}', '{"NETWORK": {"median_ms": "x"}}'])
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    folder, _ = planned(tmp_path, TOP1)
    run = summarize(folder).sections[0].lines[0].runs[0]
    (folder / "latency.json").write_text(text.replace("NETWORK", network_of(run) or ""))
    assert read_latencies(folder).of(run) is None
