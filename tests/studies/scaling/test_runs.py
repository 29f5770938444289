"""Runs of a search: finished ones are not repeated, failed ones are named, and seeds come one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostlab.errors import RunError
from ghostlab.runs.settings import Settings
from ghostlab.studies.scaling.budget import Rules, SearchPlan
from ghostlab.studies.scaling.runs import (
    Search,
    SearchConfig,
    SearchJob,
    finished_jobs,
    open_search,
    search_jobs,
    seconds_left,
    train_jobs,
)
from tests.studies.scaling.nets import candidate

PLAN = SearchPlan(
    candidate(1, 1, 16), 200, (candidate(2, 1, 16), candidate(1, 1, 24)), (candidate(1.5, 1, 16),), merged=0
)
QUICK = ("data.image_size=16", "trainer.max_epochs=1")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def opened() -> Search:
    return open_search(SearchConfig("resnet18", Rules(2.0), 2, -0.07, QUICK))


@pytest.fixture
def every(opened: Search) -> list[SearchJob]:
    return search_jobs(opened, PLAN)


def trainer(trained: list[Path], failing: Callable[[Path], bool] = lambda folder: False) -> Callable[[Settings], Any]:
    """Stands for ``training.run.train``: notes the run, prints a line and writes a result."""

    def train(settings: Settings) -> dict[str, Any]:
        folder = settings.folder
        trained.append(folder)
        print("epoch 1/1")
        if failing(folder):
            raise RunError("loss is not finite")
        result = {"top1": 50.0, "seconds": 1.0, "macs_deploy": 2e6, "config_hash": settings.config_hash}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps(result))
        return result

    return train


def test_all_candidates_have_a_seed_before_the_next(every: list[SearchJob]) -> None:
    order = [PLAN.base, *PLAN.candidates]
    assert [(job.candidate, job.seed) for job in every] == [(one, seed) for seed in (0, 1) for one in order]
    assert len({job.folder for job in every}) == 6


def test_finished_runs_are_not_trained_again(every: list[SearchJob]) -> None:
    trained: list[Path] = []
    list(train_jobs(every[:4], Path("log.txt"), trainer(trained)))
    done = finished_jobs(every)
    assert [outcome.job for outcome in done] == every[:4]
    rest = [job for job in every if job not in [outcome.job for outcome in done]]
    list(train_jobs(rest, Path("log.txt"), trainer(trained)))
    assert trained == [job.folder for job in every]
    assert len(finished_jobs(every)) == 6


def test_the_result_of_another_configuration_does_not_count(every: list[SearchJob]) -> None:
    list(train_jobs(every[:1], Path("log.txt"), trainer([])))
    file = every[0].folder / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "config_hash": "00000000"}))
    assert finished_jobs(every) == []


def test_a_run_that_fails_does_not_stop_the_others(every: list[SearchJob]) -> None:
    trained: list[Path] = []
    outcomes = list(train_jobs(every, Path("log.txt"), trainer(trained, lambda folder: folder == every[1].folder)))
    assert len(trained) == 6
    assert [outcome.error for outcome in outcomes] == [None, "loss is not finite", None, None, None, None]
    assert outcomes[1].result is None
    assert every[1] not in [outcome.job for outcome in finished_jobs(every)]


def test_an_interruption_stops_the_search(every: list[SearchJob]) -> None:
    def interrupted(settings: Settings) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train_jobs(every, Path("log.txt"), interrupted))


def test_what_runs_print_goes_to_the_log(every: list[SearchJob], capsys: pytest.CaptureFixture[str]) -> None:
    list(train_jobs(every[:2], Path("some/log.txt"), trainer([])))
    assert capsys.readouterr().out == ""
    assert Path("some/log.txt").read_text().count("epoch 1/1") == 2
    assert str(every[1].folder) in Path("some/log.txt").read_text()


def test_the_time_left_is_that_of_the_finished_runs() -> None:
    assert seconds_left([{"seconds": 10.0}, {"seconds": 20.0}], todo=4) == 60
    assert seconds_left([], todo=4) is None
