"""The latency command beyond measuring: tables for each number of threads, what is written, and what is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ghostlab.benchmarks import latency as module
from ghostlab.benchmarks.deployables import Deployable
from ghostlab.benchmarks.latency import LatencyConfig, latency
from ghostlab.benchmarks.scatter import HorizontalAxis, ScatterPoint
from ghostlab.benchmarks.timing import Conditions, Times, TimingRow
from ghostlab.errors import UsageError

KNOWN = {"a (onnx)": 60.0, "b": 70.0}


def measured(contestants: Sequence[Deployable], conditions: Conditions) -> list[TimingRow]:
    """In place of minutes of measuring: as many milliseconds as the contestant's place, times the threads."""
    rows = []
    for k, one in enumerate(contestants, 1):
        seconds = k * conditions.threads / 1e3
        times = [Times(batch, [seconds], seconds, seconds, seconds, 1, 1, 1, 1) for batch in conditions.batches]
        macs = None if one.name == "theirs.onnx" else 10**6 * k
        rows.append(TimingRow(one.name, one.runtime, conditions.threads, "file", 32, macs, macs, 0.5, 0.25, times))
    return rows


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, HorizontalAxis, list[ScatterPoint]]]:
    pytest.importorskip("onnxruntime")  # whose version is written

    def contestants(names: Sequence[str], *_: object) -> list[Deployable]:
        runtime = {name: "onnx" if "onnx" in name else "eager" for name in names}
        return [Deployable(name, lambda: pytest.fail("not measured"), runtime[name], KNOWN.get(name)) for name in names]

    seen: list[tuple[str, HorizontalAxis, list[ScatterPoint]]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "contestants", contestants)
    monkeypatch.setattr(module, "measure", measured)
    monkeypatch.setattr(module, "scatter", lambda path, *drawn: seen.append(drawn))
    return seen


def test_each_number_of_threads_has_its_tables_and_rows(
    drawn: list[tuple[str, HorizontalAxis, list[ScatterPoint]]], capsys: pytest.CaptureFixture[str]
) -> None:
    latency(LatencyConfig(["b", "theirs.onnx"], threads=(2, 1, 2), batches=(1, 4), rounds=3))
    printed = capsys.readouterr().out
    assert [line.split(" of ")[0] for line in printed.splitlines() if line.startswith("deployed")] == [
        "deployed networks on 2 threads",
        "deployed networks on 1 thread",
    ]
    assert "theirs.onnx │ file │ 32 │      - │      - │    500.0 │     250.0" in printed
    assert "not in the chart, for their MACs are not known: theirs.onnx" in printed
    found = json.loads(Path("outputs/benchmarks/latency.json").read_text())
    assert found["conditions"] == {"batches": [1, 4], "threads": [2, 1], "rounds": 3}
    assert list(found["runtimes"]) == ["onnx"]
    assert [(row["name"], row["threads"], row["load"], row["top1"]) for row in found["rows"]] == [
        ("b", 2, 0.5, 70.0),
        ("theirs.onnx", 2, 0.5, None),
        ("b", 1, 0.5, 70.0),
        ("theirs.onnx", 1, 0.5, None),
    ]
    [(title, horizontal, points)] = drawn
    assert title.startswith("batch 1, mean and 95th percentile, 2 threads")
    assert horizontal == HorizontalAxis("MACs of an image, in millions")
    assert points == [ScatterPoint("b", "eager", 1, 2, 2)]


def test_times_are_drawn_over_top1_where_all_are_known(
    drawn: list[tuple[str, HorizontalAxis, list[ScatterPoint]]],
) -> None:
    latency(LatencyConfig(["a (onnx)", "b"], accuracy=True))
    [(_, horizontal, points)] = drawn
    assert horizontal == HorizontalAxis("top-1 on the validation images, %", logarithmic=False)
    assert points == [ScatterPoint("a (onnx)", "onnx", 60, 1, 1), ScatterPoint("b", "eager", 70, 2, 2)]
    with pytest.raises(UsageError, match=r"--accuracy: top-1 is known of .*, but not of theirs\.onnx$"):
        latency(LatencyConfig(["b", "theirs.onnx"], accuracy=True))


def test_without_known_macs_there_is_no_chart(
    drawn: list[tuple[str, HorizontalAxis, list[ScatterPoint]]], capsys: pytest.CaptureFixture[str]
) -> None:
    latency(LatencyConfig(["theirs.onnx"]))
    assert capsys.readouterr().out.endswith("written to outputs/benchmarks/latency.json\n")
    assert not drawn
