"""What a reader of a table must know before believing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ghostlab.reports.results import metric
from ghostlab.reports.summary import RunRecord, State

__all__ = ["table_notes"]

Runs = Mapping[str, Sequence[RunRecord]]


def table_notes(runs: Runs, damaged: Sequence[str]) -> list[str]:
    """On the runs of a table by row: what is not finished, what is damaged, what differs between machines, and which
    rows are the same."""
    return [*_unfinished(runs), *damaged, *_leaks(runs), *_devices(runs), *_versions(runs), *_identical_rows(runs)]


def _unfinished(runs: Runs) -> list[str]:
    counts = {
        state: sum(run.state == state for _, run in _named_runs(runs)) for state in ("running", "failed", "missing")
    }
    left = sum(counts.values())
    if not left:
        return []
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    total = len([*_named_runs(runs)])
    lines = [f"Not complete: {total - left} of {total} runs finished, {told}; what is said here may change."]
    lines += [f"{state.capitalize()}: {_named(runs, state)}." for state in ("running", "missing") if counts[state]]
    failed = [(name, run) for name, run in _named_runs(runs) if run.state == "failed"]
    return lines + [f"Failed: {name}, seed {run.seed}: {run.error}" for name, run in failed]


def _named(runs: Runs, state: State) -> str:
    """``kd, seeds 1 and 2; ema, seed 0``."""
    seeds = {name: [str(run.seed) for run in own if run.state == state] for name, own in runs.items()}
    return "; ".join(f"{name}, seed{'s' * (len(own) > 1)} {' '.join(own)}" for name, own in seeds.items() if own)


def _leaks(runs: Runs) -> list[str]:
    """Rows that are judged by images which their teachers, or the runs that they started from, have learned from."""
    shares = {name: max((metric(run, "val_leaked") or 0.0 for run in own), default=0.0) for name, own in runs.items()}
    told = ", ".join(f"{name} ({share:.2%})" for name, share in shares.items() if share)
    return [f"Validation images that were learned from before, so that top-1 is too high: {told}."] if told else []


def _devices(runs: Runs) -> list[str]:
    devices = sorted({str(_result(run).get("device")) for _, run in _named_runs(runs) if run.result})
    if len(devices) < 2:
        return []
    return [f"Trained on different devices ({'; '.join(devices)}): time and memory are compared on the same one only."]


def _versions(runs: Runs) -> list[str]:
    versions = [v for _, run in _named_runs(runs) if isinstance(v := _result(run).get("versions"), dict)]
    names = dict.fromkeys(name for one in versions for name in one)
    found = {name: sorted({str(one.get(name)) for one in versions}) for name in names}
    mixed = [f"{name} {' and '.join(values)}" for name, values in found.items() if len(values) > 1]
    return [f"Trained with different versions: {'; '.join(mixed)}."] if mixed else []


def _identical_rows(runs: Runs) -> list[str]:
    """A knob that is never reached makes runs that are the same in every epoch."""
    alike: dict[str, list[str]] = {}
    for name, own in runs.items():
        curves = [[sorted(row.items() - _times(row)) for row in run.history] for run in own]
        if all(curves):
            alike.setdefault(repr(curves), []).append(name)
    return [
        f"The same in every epoch of every seed: {', '.join(names)}; what they set otherwise had no effect."
        for names in alike.values()
        if len(names) > 1
    ]


def _times(row: Mapping[str, float]) -> set[tuple[str, float]]:
    return {(key, row[key]) for key in ("images_per_second", "seconds") if key in row}


def _result(run: RunRecord) -> Mapping[str, Any]:
    return run.result or {}


def _named_runs(runs: Runs) -> Iterable[tuple[str, RunRecord]]:
    return ((name, run) for name, own in runs.items() for run in own)
