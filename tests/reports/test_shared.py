"""Building a teacher's cache is counted in the time of the runs that use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostlab.reports.summarize import summarize
from tests.reports.runs import planned

TOP1: dict[str, list[float | None]] = {"baseline": [50.0, 51.0], "kd": [60.0, 61.0], "ema": [50.0, None]}
CACHED = {("kd", seed): {"cache_seconds": 8.0, "cache_folder": "outputs/teachers/caches/x"} for seed in (0, 1)}


def test_in_equal_parts_and_said(tmp_path: Path) -> None:
    [section] = summarize(planned(tmp_path, TOP1, results=CACHED)[0]).sections
    assert {line.name: (line.seconds, line.time_ratio) for line in section.lines} == {
        "baseline": (10, 1),
        "kd": (14, 1.4),
        "ema": (10, 1),
    }
    assert (
        "Asking a teacher for the answers in outputs/teachers/caches/x took 8 s, counted in equal parts in the time of"
        " the 2 runs here that use it."
    ) in section.notes


@pytest.mark.parametrize(
    ("seconds", "mean", "said"),
    [(8.0, 14, "took 8 s, counted in the time of its run."), (None, 10, "was not timed: it is in no row's time.")],
)
def test_of_a_single_run_and_of_an_unknown_time(tmp_path: Path, seconds: float | None, mean: float, said: str) -> None:
    results = {("kd", 0): {"cache_seconds": seconds, "cache_folder": "x"}}
    [section] = summarize(planned(tmp_path, TOP1, results=results)[0]).sections
    assert next(line.seconds for line in section.lines if line.name == "kd") == mean
    assert any(note.endswith(said) for note in section.notes)
