"""The proxy runs of a search: ordinary runs of ``train.py``, of which finished ones are not repeated."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ghostlab.runs.messages import exit_code, one_line
from ghostlab.runs.settings import Settings, parse
from ghostlab.studies.scaling.budget import Candidate, SearchPlan
from ghostlab.studies.scaling.settings import Search, check_settings
from ghostlab.training.run import train

__all__ = ["Outcome", "SearchJob", "finished_jobs", "search_jobs", "seconds_left", "train_jobs"]

Result = dict[str, Any]


@dataclass(frozen=True)
class SearchJob:
    """One candidate with one seed."""

    candidate: Candidate
    seed: int
    settings: Settings

    @property
    def folder(self) -> Path:
        """Of its run."""
        return self.settings.folder


class Outcome(NamedTuple):
    """A job with its ``result.json``, or with why there is none."""

    job: SearchJob
    result: Result | None
    error: str | None = None


def search_jobs(search: Search, plan: SearchPlan) -> list[SearchJob]:
    """Every run of the plan: all candidates with one seed before the next, so that a part of the search says something.

    Raises ``UsageError`` for a configuration that cannot be trained.
    """
    found = []
    for seed in range(search.wanted.seeds):
        for candidate in (plan.base, *plan.candidates):
            settings = parse(search.configured(candidate, seed))
            check_settings(settings)  # a size that is the model's native one may come with another to validate at
            found.append(SearchJob(candidate, seed, settings))
    return found


def finished_jobs(every: Sequence[SearchJob]) -> list[Outcome]:
    """The jobs that are finished already."""
    found = [(job, job.settings.run.result()) for job in every]
    return [
        Outcome(job, result)
        for job, result in found
        if result and result.get("config_hash") == job.settings.config_hash
    ]


def train_jobs(todo: Sequence[SearchJob], log: Path, train: Callable[[Settings], Result] = train) -> Iterator[Outcome]:
    """Train one job after the other; what a run prints goes to ``log``, and one that fails does not stop the others."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for job in todo:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as text, redirect_stdout(text):
            print(f"\n{job.folder}", flush=True)
            outcome = _trained(job, train)
        yield outcome


def seconds_left(done: Sequence[Result], todo: int) -> float | None:
    """Estimated from the runs that are finished, which cost about the same; None before there is one."""
    return sum(result["seconds"] for result in done) / len(done) * todo if done else None


def _trained(job: SearchJob, train: Callable[[Settings], Result]) -> Outcome:
    try:
        return Outcome(job, train(job.settings))
    except Exception as error:
        if exit_code(error) is None:
            traceback.print_exc()
        return Outcome(job, None, one_line(error))
