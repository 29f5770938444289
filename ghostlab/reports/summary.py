"""What a report says, as plain values: made by ``summarize``, shown by the table and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ghostlab.statistics.paired import Difference
from ghostlab.statistics.verdicts import Verdict

__all__ = ["Effect", "Interaction", "Line", "Report", "RunRecord", "Section"]

State = Literal["finished", "failed", "running", "missing"]


@dataclass(frozen=True)
class RunRecord:
    """One run on disk: its ``result.json``, the rows of its ``metrics.csv`` and the first line of its ``error.txt``."""

    seed: int
    folder: Path
    state: State
    command: str
    result: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, float]] = ()
    error: str | None = None


@dataclass(frozen=True)
class Effect:
    """A comparison with its outcome: ``adjusted`` is p corrected for the comparisons of its table, ``more_seeds`` how
    many more seeds would likely settle an undecided one (None: settled, or cannot be estimated; ``MANY_SEEDS``: over
    100)."""

    row: str
    reference: str
    subject: str
    removed: bool
    difference: Difference | None
    adjusted: float | None
    verdict: Verdict
    more_seeds: int | None = None


@dataclass(frozen=True)
class Interaction:
    """What two strategies together give beyond the sum of what each gives alone, in percentage points."""

    strategies: tuple[str, str]
    difference: Difference | None
    adjusted: float | None
    verdict: Literal["more together", "less together", "undecided", "no seeds"]


@dataclass(frozen=True)
class Line:
    """A row of the table: means over its finished seeds; times and memory relative to the table's reference row.

    ``top1`` is that of the weights that are deployed, ``top1_raw`` and ``top1_ema`` both kinds where there are two;
    ``changes`` is what its configuration has otherwise than the reference's: (key, reference's value, own value).
    """

    name: str
    strategy: str
    runs: Sequence[RunRecord]
    changes: Sequence[tuple[str, Any, Any]]
    effect: Effect | None
    top1: float | None
    top1_sd: float | None
    top1_raw: float | None
    top1_ema: float | None
    seconds: float | None
    time_ratio: float | None
    memory_ratio: float | None
    params_deploy: float | None
    macs_deploy: float | None
    latency_ms: float | None


@dataclass(frozen=True)
class Section:
    """One table of the plan; ``direct`` are comparisons beyond a line's own, ``others`` run folders beside those of
    the plan that hold other configurations, ``notes`` are what a reader must know (missing, failed, mixed devices).

    ``main`` are the main effects of a factorial: rows with a strategy against those without, over all contexts.
    ``method`` says in words what was tested and corrected for.
    """

    title: str
    overrides: Sequence[str]
    reference: str | None
    lines: Sequence[Line]
    direct: Sequence[Effect]
    interactions: Sequence[Interaction]
    others: Sequence[str]
    notes: Sequence[str]
    main: Sequence[Effect] = ()
    method: str = ""


@dataclass(frozen=True)
class Report:
    """All tables of an ablation, and how far it is."""

    kind: str
    command: str
    folder: Path
    sections: Sequence[Section]
    finished: int
    total: int
