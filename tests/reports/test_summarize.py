"""What a report says of fabricated runs on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock
from pytest import approx

from ghostlab.errors import UsageError
from ghostlab.reports.latency import network_of
from ghostlab.reports.summarize import summarize
from ghostlab.reports.summary import Line
from ghostlab.runs.identity import SCHEMA
from tests.reports.runs import planned, write_run

TOP1 = {"baseline": [50.0, 51.0, 52.0], "kd": [60.1, 61.0, 61.9], "ema": [50.4, 50.7, 52.1]}


def lines(folder: Path) -> dict[str, Line]:
    [section] = summarize(folder).sections
    return {line.name: line for line in section.lines}


def test_a_plan_on_disk_is_reported(tmp_path: Path) -> None:
    folder, plan = planned(tmp_path, TOP1)
    report = summarize(folder)
    assert (report.kind, report.command, report.folder) == (plan.kind, plan.command, folder)
    assert (report.finished, report.total) == (9, 9)
    [section] = report.sections
    assert (section.title, section.reference, section.notes, section.main) == ("digits  ghostnetv2", "baseline", [], [])
    baseline, kd, _ = section.lines
    assert baseline.effect is None
    assert kd.effect is not None and kd.effect.verdict == "helps"
    assert (kd.top1, kd.top1_sd) == (approx(61), approx(0.9))
    assert ("strategy.kd.tau", None, 1) in kd.changes


def test_folders_alone_are_reported_as_well(tmp_path: Path) -> None:
    for strategy, values in TOP1.items():
        for seed, value in enumerate(values):
            write_run(tmp_path, strategy, seed, value)
    report = summarize(tmp_path)
    assert {line.name: line.top1 for line in report.sections[0].lines} == {
        "baseline": 51,
        "kd": 61,
        "ema": approx(51.0667, abs=1e-4),
    }
    assert report.command == f"python tools/report.py {tmp_path}"


def test_a_half_finished_sweep_says_what_is_missing(tmp_path: Path) -> None:
    folder, plan = planned(
        tmp_path, {"baseline": [50.0, 51.0, None], "kd": [60.0, None, None], "ema": [None, None, None]}
    )
    rows = {row.name: row.runs for row in plan.tables[0].rows}
    (tmp_path / rows["kd"][2] / "error.txt").write_text("loss is not finite\nTraceback")
    with FileLock(tmp_path / rows["baseline"][2] / ".lock"):
        report = summarize(folder)
    [section] = report.sections
    assert (report.finished, report.total) == (3, 9)
    assert section.notes == [
        "Not complete: 3 of 9 runs finished, 1 running, 1 failed, 4 missing; what is said here may change.",
        "Running: baseline, seed 2.",
        "Missing: kd, seed 1; ema, seeds 0 1 2.",
        "Failed: kd, seed 2: loss is not finite",
    ]
    _, kd, ema = section.lines
    assert kd.effect is not None and kd.effect.difference is not None
    assert (kd.effect.difference.mean, kd.effect.verdict) == (10, "no seeds")
    assert (ema.top1, ema.seconds, ema.time_ratio, ema.latency_ms) == (None, None, None, None)


def test_costs_are_the_mean_ratio_over_seeds(tmp_path: Path) -> None:
    costs = [(20.0, 100.0), (30.0, 200.0), (10.0, 150.0)]
    results = {("kd", seed): {"seconds": s, "peak_memory_mb": m} for seed, (s, m) in enumerate(costs)}
    found = lines(planned(tmp_path, TOP1, results=results | {("baseline", 1): {"seconds": 20.0}})[0])
    assert found["kd"].time_ratio == approx((20 / 10 + 30 / 20 + 10 / 10) / 3)
    assert found["kd"].memory_ratio == approx(1.5)
    assert (found["baseline"].time_ratio, found["baseline"].memory_ratio, found["kd"].seconds) == (1, 1, 20)


def test_times_of_different_devices_are_not_compared(tmp_path: Path) -> None:
    results = {("kd", 0): {"device": "H100", "seconds": 1.0}, ("ema", 0): {"device": "H100"}}
    results |= {("ema", seed): {"device": "H100"} for seed in (1, 2)}
    folder, _ = planned(tmp_path, TOP1, results=results)
    found = lines(folder)
    assert (found["kd"].time_ratio, found["ema"].time_ratio, found["ema"].memory_ratio) == (1, None, None)
    assert summarize(folder).sections[0].notes == [
        "Trained on different devices (H100; cpu, 1 threads): time and memory are compared on the same one only."
    ]


def test_different_versions_are_noted(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1, results={("kd", 0): {"versions": {"torch": "2.12"}}})
    assert summarize(folder).sections[0].notes == ["Trained with different versions: torch 2.11 and 2.12."]


def test_rows_whose_values_make_no_difference_are_noted(tmp_path: Path) -> None:
    folder, plan = planned(tmp_path, TOP1)
    for row in plan.tables[0].rows:
        for place in row.runs.values():
            loss, seconds = (1, 5) if row.name == "baseline" else (2, len(row.name))
            (tmp_path / place / "metrics.csv").write_text(f"epoch,loss,seconds\n1,{loss},{seconds}\n")
    assert summarize(folder).sections[0].notes == [
        "The same in every epoch of every seed: kd, ema; what they set otherwise had no effect."
    ]


def test_other_configurations_beside_the_plan_are_named(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1)
    other = write_run(tmp_path, "kd", 0, 99.0, optimizer={"lr": 1.0})
    [section] = summarize(folder).sections
    assert section.others == [other]
    assert section.lines[1].top1 == approx(61)


def test_a_folder_that_was_trained_anew_otherwise_is_not_mixed_in(tmp_path: Path) -> None:
    folder, plan = planned(tmp_path, TOP1)
    place = plan.tables[0].rows[1].runs[1]
    (tmp_path / place / "result.json").write_text(
        json.dumps({"config_hash": "ffffffff", "config_schema": SCHEMA, "seed": 1, "top1": 99.0})
    )
    report = summarize(folder)
    assert report.finished == 8
    assert report.sections[0].lines[1].top1 == approx(61)
    assert f"kd, seed 1: its folder holds another configuration, not counted ({place})" in report.sections[0].notes


def test_a_factorial_has_main_effects_and_interactions(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1 | {"ema+kd": [70.0, 71.5, 72.0]}, kind="factorial")
    [section] = summarize(folder).sections
    assert {effect.subject for effect in section.main} == {"ema", "kd"}
    assert [set(one.strategies) for one in section.interactions] == [{"ema", "kd"}]


def test_another_reference_and_direct_comparisons(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1)
    [section] = summarize(folder, "kd", ["ema:baseline"]).sections
    assert section.reference == "kd"
    assert {line.name: line.time_ratio for line in section.lines} == {"baseline": 1, "kd": 1, "ema": 1}
    assert [line.name for line in section.lines if line.effect is None] == ["kd"]
    assert [(one.row, one.reference) for one in section.direct] == [("ema", "baseline")]


def test_a_latency_belongs_to_all_rows_with_that_network(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1, results={("ema", seed): {"macs_deploy": 3e6} for seed in range(3)})
    network = network_of(lines(folder)["kd"].runs[0])
    (folder / "latency.json").write_text(json.dumps({network: {"median_ms": 4.5}, "1000000,3000000": {"median_ms": 5}}))
    assert {name: line.latency_ms for name, line in lines(folder).items()} == {"baseline": 4.5, "kd": 4.5, "ema": None}
    (folder / "latency.json").write_text("{")
    assert {line.latency_ms for line in lines(folder).values()} == {None}


def test_the_step_of_top1_comes_from_all_epochs(tmp_path: Path) -> None:
    """The same difference with every seed, of one step, is undecided; where a step is known to be finer, it is not."""
    folder, plan = planned(tmp_path, {"baseline": [50.0, 50.5, 51.0], "kd": [50.5, 51.0, 51.5]})
    kd = lines(folder)["kd"].effect
    assert kd is not None and kd.verdict == "undecided"
    place = plan.tables[0].rows[0].runs[0]
    (tmp_path / place / "metrics.csv").write_text("epoch,top1\n1,50.01\n")
    kd = lines(folder)["kd"].effect
    assert kd is not None and kd.verdict == "helps"


@pytest.mark.parametrize(
    ("strategies", "message"),
    [([], "no runs below it"), (["kd"], "nothing to compare among its 1 runs"), (None, "no such folder")],
)
def test_a_folder_with_nothing_to_compare_is_said(tmp_path: Path, strategies: list[str] | None, message: str) -> None:
    folder = tmp_path if strategies is not None else tmp_path / "nowhere"
    for strategy in strategies or []:
        write_run(tmp_path, strategy, 0, 50.0)
    with pytest.raises(UsageError, match=f"{folder}: {message}"):
        summarize(folder)


def test_a_plan_that_compares_what_it_does_not_have_is_named(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1)
    text = (folder / "plan.json").read_text().replace('"reference": "baseline"', '"reference": "basline"')
    (folder / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json: has no rows, or compares rows that it does not have"):
        summarize(folder)
