"""The columns of the page's table, and the order of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ghostlab.reports.html import formats
from ghostlab.reports.html.verdicts import REFERENCE, line_mark, line_words
from ghostlab.reports.summary import Line, Section

__all__ = ["PageColumn", "columns", "ordered", "removes"]

RANKS = ("helps", "hurts", "undecided", "one seed", "reference", "not compared", "no seed yet")


@dataclass(frozen=True)
class PageColumn:
    """``value`` sorts a line, None last, and ``text`` shows it; ``hint`` explains the title."""

    key: str
    title: str
    hint: str
    value: Callable[[Line], float | None]
    text: Callable[[Line], str]


def columns(section: Section) -> list[PageColumn]:
    """The columns after the row's name; of those that not every sweep has, the ones in which a line has a value."""
    return [
        *_outcome(section),
        *(column for column in OPTIONAL if any(column.value(line) is not None for line in section.lines)),
    ]


def ordered(section: Section) -> list[tuple[int, Line]]:
    """The lines with their place in the plan: what helps most first, what is not known yet last."""
    sign = 1 if removes(section) else -1

    def key(entry: tuple[int, Line]) -> tuple[bool, float]:
        value = _difference(section, entry[1])
        return (value is None, 0 if value is None else sign * value)

    return sorted(enumerate(section.lines), key=key)


def removes(section: Section) -> bool:
    """Whether the table's rows lack what their comparison is about."""
    effects = [line.effect for line in section.lines if line.effect]
    return bool(effects) and all(effect.removed for effect in effects)


def _difference(section: Section, line: Line) -> float | None:
    """A finished reference is at zero."""
    if line.effect:
        return line.effect.difference.mean if line.effect.difference else None
    return 0.0 if line.top1 is not None and line_mark(section, line) == REFERENCE else None


def _outcome(section: Section) -> Sequence[PageColumn]:
    against = f"against {section.reference}" if section.reference else "against its reference"
    return (
        PageColumn(
            "top1",
            "top-1 (%)",
            "of the deployed weights: mean ± standard deviation (finished seeds)",
            lambda line: line.top1,
            lambda line: formats.top1(line.top1, line.top1_sd, sum(run.state == "finished" for run in line.runs)),
        ),
        PageColumn(
            "difference",
            against,
            "difference in points of top-1, with its own 95 % interval",
            lambda line: _difference(section, line),
            lambda line: formats.difference(line.effect.difference if line.effect else None),
        ),
        PageColumn(
            "p",
            "p",
            "paired t-test by seed, corrected by Holm's method",
            lambda line: line.effect.adjusted if line.effect else None,
            lambda line: formats.probability(line.effect.adjusted if line.effect else None),
        ),
        PageColumn(
            "verdict",
            "verdict",
            "what the corrected p says",
            lambda line: RANKS.index(line_mark(section, line).word),
            lambda line: line_words(section, line),
        ),
    )


OPTIONAL = (
    PageColumn(
        "more",
        "more seeds",
        "how many would likely settle it; an estimate",
        lambda line: line.effect.more_seeds if line.effect else None,
        lambda line: formats.more(line.effect.more_seeds if line.effect else None),
    ),
    PageColumn(
        "weights",
        "raw / EMA",
        "top-1 of the trained and of the averaged weights",
        lambda line: line.top1_ema,
        lambda line: formats.both(line.top1_raw, line.top1_ema),
    ),
    PageColumn(
        "time",
        "train time",
        "times the reference's",
        lambda line: line.time_ratio,
        lambda line: formats.times(line.time_ratio),
    ),
    PageColumn(
        "memory",
        "memory",
        "peak in training, times the reference's",
        lambda line: line.memory_ratio,
        lambda line: formats.times(line.memory_ratio),
    ),
    PageColumn(
        "params",
        "params",
        "of the deployed network",
        lambda line: line.params_deploy,
        lambda line: formats.count(line.params_deploy),
    ),
    PageColumn(
        "macs",
        "MACs",
        "of the deployed network, for an image",
        lambda line: line.macs_deploy,
        lambda line: formats.count(line.macs_deploy),
    ),
    PageColumn(
        "latency",
        "latency (ms)",
        "of the deployed network",
        lambda line: line.latency_ms,
        lambda line: formats.milliseconds(line.latency_ms),
    ),
)
