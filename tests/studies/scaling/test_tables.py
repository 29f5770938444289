"""The files of a search, from fabricated results."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.studies.scaling.budget import Base, Candidate, Rules
from ghostlab.studies.scaling.report import SearchRow, search_rows
from ghostlab.studies.scaling.runs import Outcome, Search, SearchConfig, SearchJob
from ghostlab.studies.scaling.tables import describe_grid, draw_search, phi_commands, write_tables
from tests.studies.scaling.nets import ALL, BASE, DEEP, PLAN, WIDE, candidate, macs, stacks

BASE_SETTINGS = parse(compose())
COMMAND = ["python", "tools/scale.py", "search", "--family", "ghostnetv2"]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    wanted = SearchConfig("ghostnetv2", Rules(2.0), 2, -0.07, ("data=eurosat", "model.width=0.35"))
    return Search(wanted, Base(1, 0.5, 64), stacks(), "ghostnetv2", "eurosat", 6, tmp_path)


def table(top1: dict[tuple[Candidate, int], float]) -> list[SearchRow]:
    return search_rows(PLAN, top1, {(WIDE, 0): "loss is not finite"}, -0.07)


def written(search: Search, top1: dict[tuple[Candidate, int], float]) -> Iterator[str]:
    outcomes = [Outcome(job(one, seed), figures(value)) for (one, seed), value in top1.items()]
    write_tables(search, PLAN, table(top1), [*outcomes, Outcome(job(WIDE, 0), None, "loss is not finite")], COMMAND)
    for name in ("table.md", "table.csv", "search.json"):
        yield (search.folder / name).read_text()


def job(one: Candidate, seed: int) -> SearchJob:
    return SearchJob(one, seed, replace(BASE_SETTINGS, folder=Path(f"outputs/eurosat/seed{seed}")))


def figures(top1: float) -> dict[str, float]:
    return {"top1": top1, "top5": 99.0, "loss": 1.0, "seconds": 2.0, "device": 0.0}


PARTIAL = {(BASE, 0): 50.0, (DEEP, 0): 60.0, (DEEP, 1): 62.0, (ALL, 0): 63.0}


def test_the_table_is_in_order_and_says_what_is_missing(search: Search) -> None:
    text, _, _ = written(search, PARTIAL)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == [
        *("| scaled", "| compound", "| depth", "| base", "| width", "| resolution")
    ]
    assert "| depth | 2 | 1 | 1 | 64 | 10 | 200 | +0.0% | 61.00 ±1.41 | 2 | 61.00 |" in lines
    assert any(" failed | 0 | - |" in line for line in lines if line.startswith("| width"))
    assert "`python tools/scale.py search --family ghostnetv2`" in text
    assert "- Not complete: 6 of 10 runs are missing." in text
    assert "- Too far from the budget: depth 1.5x, width 1x, 64 px (-25.0%)." in text
    assert "## The best: alpha 1.2, beta 1.1, gamma 1.125" in text


def test_the_figures_are_kept_exactly(search: Search) -> None:
    _, text, _ = written(search, PARTIAL)
    found = {row["kind"]: row for row in csv.DictReader(text.splitlines())}
    assert (found["depth"]["alpha"], found["depth"]["macs"], found["depth"]["top1_mean"]) == ("2", "200", "61.0")
    assert float(found["base"]["deviation"]) == -0.5
    assert found["width"]["top1_mean"] == ""


def test_the_json_holds_runs_candidates_and_the_best(search: Search) -> None:
    content = json.loads(list(written(search, PARTIAL))[2])
    assert content["command"] == COMMAND
    assert [run["top1"] for run in content["runs"][:-1]] == list(PARTIAL.values())
    assert content["runs"][-1]["error"] == "loss is not finite"
    assert content["best"]["factors"] == {"depth": 1.2, "width": 1.1, "resolution": 1.125}
    assert content["rows"][0]["top1"] == {"0": 63.0}
    assert content["left_out"][0]["deviation"] == -0.25


def test_without_results_there_is_no_best(search: Search) -> None:
    text, _, content = written(search, {})
    assert "The best" not in text
    assert json.loads(content)["best"] is None


def test_the_commands_of_phi_say_what_they_measure(search: Search) -> None:
    first, second, third = phi_commands(search, ALL)
    assert first["command"] == (
        "python train.py model=ghostnetv2 data=eurosat model.depth=1.2 model.width=0.55 data.image_size=72"
    )
    assert [one["phi"] for one in (first, second, third)] == [1, 2, 3]
    assert second["macs"] == macs(1.44, 0.605, 80)
    assert third["times"] == third["macs"] / macs(1, 0.5, 64)


def test_equal_points_of_the_grid_are_named() -> None:
    plan = PLAN.__class__(BASE, 200, (candidate(1.2, 1, 64, equal=(candidate(1.1, 1, 64).factors,)),), (), merged=1)
    assert describe_grid(plan) == [
        "1 points of the grid round to the network of another.",
        "The same network as depth 1.2x, width 1x, 64 px: depth 1.1x, width 1x.",
    ]


@pytest.mark.parametrize("top1", [{}, PARTIAL], ids=["nothing yet", "some runs"])
def test_there_is_a_picture_from_the_beginning(tmp_path: Path, top1: dict[tuple[Candidate, int], float]) -> None:
    draw_search(tmp_path / "search.png", table(top1), "title", "subtitle")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
