"""Work that is done once for several runs: its time is counted in equal parts in that of each run that uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ghostlab.quantities import duration
from ghostlab.reports.results import figure
from ghostlab.reports.summary import RunRecord

__all__ = ["with_shared_work"]

Runs = Mapping[str, Sequence[RunRecord]]


def with_shared_work(runs: Runs) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The runs of a table by row, and notes on them: to ``seconds`` is added a part of building a teacher's cache.

    What its answers cost is divided by the finished runs of the table that use them, whichever of them built it.
    """
    every = [run for own in runs.values() for run in own]
    users = Counter(cache for run in every if (cache := _cache(run)))
    counted = {name: [_with_part(run, users) for run in own] for name, own in runs.items()}
    return counted, [*_notes(every, users)]


def _cache(run: RunRecord) -> str | None:
    cache = (run.result or {}).get("cache_folder")
    return cache if isinstance(cache, str) else None


def _with_part(run: RunRecord, users: Mapping[str, int]) -> RunRecord:
    cache, own, whole = _cache(run), figure(run, "seconds"), figure(run, "cache_seconds")
    if cache is None or own is None or whole is None:
        return run
    return replace(run, result={**(run.result or {}), "seconds": own + whole / users[cache]})


def _notes(every: Sequence[RunRecord], users: Mapping[str, int]) -> Iterable[str]:
    for cache, count in users.items():
        known = [seconds for run in every if _cache(run) == cache and (seconds := figure(run, "cache_seconds"))]
        if not known:
            yield f"Building {cache} was not timed: it is in no row's time."
            continue
        shared = f"equal parts in the time of the {count} runs here that use it" if count > 1 else "the time of its run"
        yield f"Asking a teacher for the answers in {cache} took {duration(max(known))}, counted in {shared}."
