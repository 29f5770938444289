"""A row of a table: means over its finished runs, its costs against the reference's, what it sets otherwise.

Work that is done once for several runs is counted in equal parts in the time of each run that uses it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ghostlab.quantities import duration
from ghostlab.reports.latency import Latencies
from ghostlab.reports.results import metric, top1_by_seed
from ghostlab.reports.summary import Effect, Line, RunRecord
from ghostlab.runs.identity import identity
from ghostlab.runs.run import Run
from ghostlab.studies.plan import Row

__all__ = ["summary_line", "with_shared_work"]

Runs = Mapping[str, Sequence[RunRecord]]


def summary_line(
    row: Row, runs: Sequence[RunRecord], reference: Sequence[RunRecord], effect: Effect | None, latencies: Latencies
) -> Line:
    """The line of a row, whose costs are compared with the runs of the table's reference."""
    top1 = [*top1_by_seed(runs).values()]
    return Line(
        name=row.name,
        strategy=row.strategy,
        runs=runs,
        changes=_changes(runs, reference),
        effect=effect,
        top1=statistics.mean(top1) if top1 else None,
        top1_sd=statistics.stdev(top1) if len(top1) > 1 else None,
        top1_raw=_mean(runs, "top1_raw"),
        top1_ema=_mean(runs, "top1_ema"),
        seconds=_mean(runs, "seconds"),
        time_ratio=_ratio(runs, reference, "seconds"),
        memory_ratio=_ratio(runs, reference, "peak_memory_mb"),
        params_deploy=_mean(runs, "params_deploy"),
        macs_deploy=_mean(runs, "macs_deploy"),
        latency_ms=_latency(runs, latencies),
    )


def _mean(runs: Sequence[RunRecord], key: str) -> float | None:
    values = [value for run in runs if (value := metric(run, key)) is not None]
    return statistics.mean(values) if values else None


def _ratio(runs: Sequence[RunRecord], reference: Sequence[RunRecord], key: str) -> float | None:
    """Mean ratio over the seeds that both have on the same device."""
    by_seed = {run.seed: run for run in reference}
    pairs = [(run, by_seed[run.seed]) for run in runs if run.seed in by_seed]
    values = [(metric(one, key), metric(other, key)) for one, other in pairs if _device(one) == _device(other)]
    ratios = [one / other for one, other in values if one and other]
    return statistics.mean(ratios) if ratios else None


def _device(run: RunRecord) -> object:
    return (run.result or {}).get("device")


def _latency(runs: Sequence[RunRecord], latencies: Latencies) -> float | None:
    found = [latencies.of(run) for run in runs]
    return next((value for value in found if value is not None), None)


def _changes(runs: Sequence[RunRecord], reference: Sequence[RunRecord]) -> list[tuple[str, Any, Any]]:
    """What the first run with a configuration has otherwise than the reference's; a value that one lacks is None."""
    own, theirs = _settings(runs), _settings(reference)
    if not own or not theirs:
        return []
    keys = sorted({*own, *theirs})
    return [(key, theirs.get(key), own.get(key)) for key in keys if own.get(key) != theirs.get(key)]


def _settings(runs: Sequence[RunRecord]) -> Mapping[str, Any]:
    configs = (Run(run.folder).find_config() for run in runs)
    first = next((config for config in configs if config), {})
    return {key: value for key, value in identity(first).items() if value != {}}


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
    cache, own, whole = _cache(run), metric(run, "seconds"), metric(run, "cache_seconds")
    if cache is None or own is None or whole is None:
        return run
    return replace(run, result={**(run.result or {}), "seconds": own + whole / users[cache]})


def _notes(every: Sequence[RunRecord], users: Mapping[str, int]) -> Iterable[str]:
    for cache, count in users.items():
        known = [seconds for run in every if _cache(run) == cache and (seconds := metric(run, "cache_seconds"))]
        if not known:
            yield f"Building {cache} was not timed: it is in no row's time."
            continue
        shared = f"equal parts in the time of the {count} runs here that use it" if count > 1 else "the time of its run"
        yield f"Asking a teacher for the answers in {cache} took {duration(max(known))}, counted in {shared}."
